// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What a key slot opens (docs/format.md section 6).</summary>
public enum KeyRole
{
    /// <summary>Everything: back up, restore, and all that follows.</summary>
    Full,

    /// <summary>Listing, marking, folding and moving blobs; no guest data.</summary>
    Maintenance,
}

/// <summary>What a slot holds once it is opened: the master (32 bytes), or the three keys of maintenance (96).</summary>
internal readonly record struct SlotSecret(KeyRole Role, byte[] Bytes);
