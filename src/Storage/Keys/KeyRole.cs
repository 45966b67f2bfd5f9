// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What a key slot opens (docs/format.md section 6).</summary>
public enum KeyRole
{
    /// <summary>Everything: back up, restore, and all that follows.</summary>
    Full,

    /// <summary>Listing, marking, folding and moving blobs; no guest data.</summary>
    Maintenance,

    /// <summary>What a maintenance key does, and all of one key domain.</summary>
    Domain,
}

/// <summary>What a slot holds once it is opened: the master (32 bytes), the three keys of maintenance (96), or those and the two of a
/// domain (160).</summary>
internal readonly record struct SlotSecret(KeyRole Role, byte[] Bytes, string Domain = "")
{
    /// <summary>Bytes that a slot of a role holds.</summary>
    public static int SizeOf(KeyRole role) => RepositoryKeys.KeySize * role switch
    {
        KeyRole.Full => 1,
        KeyRole.Maintenance => 3,
        _ => 5,
    };
}
