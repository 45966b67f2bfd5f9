// SPDX-License-Identifier: Apache-2.0
using System.Numerics;

namespace Tidemark.Nbd;

/// <summary>What a server says of one export, and what a connection to it negotiated.</summary>
public sealed record NbdExport
{
    /// <summary>The name that was asked for; empty is the server's default export.</summary>
    public required string Name { get; init; }

    /// <summary>The server's own name for it, where it gives one (NBD_INFO_NAME).</summary>
    public string? CanonicalName { get; init; }

    /// <summary>Text for people (NBD_INFO_DESCRIPTION).</summary>
    public string? Description { get; init; }

    /// <summary>Size in bytes; any number.</summary>
    public required long Size { get; init; }

    public required NbdTransmissionFlags Flags { get; init; }

    public NbdBlockSizes BlockSizes { get; init; } = NbdBlockSizes.Unconstrained;

    /// <summary>True when replies come in chunks: holes in reads, block status, error texts.</summary>
    public bool HasStructuredReplies { get; init; }

    /// <summary>Names of the meta contexts of the connection (or of the export, when it was only asked about).</summary>
    public IReadOnlyList<string> Contexts { get; init; } = [];

    public bool IsReadOnly => Has(NbdTransmissionFlags.ReadOnly);

    public bool CanMultiConnection => Has(NbdTransmissionFlags.MultiConnection);

    public bool HasContext(string name) => Contexts.Contains(name, StringComparer.Ordinal);

    public bool Has(NbdTransmissionFlags flag) => Flags.HasFlag(flag);
}

/// <summary>An entry of a server's list of exports.</summary>
public sealed record NbdListEntry(string Name, string? Description);

/// <summary>Block size constraints in bytes (spec, "Block size constraints").</summary>
/// <param name="Minimum">Offsets and lengths are multiples of it; a power of two, at most 64 KiB.</param>
/// <param name="Preferred">Cheap for the server.</param>
/// <param name="Maximum">Longest payload of a request.</param>
public readonly record struct NbdBlockSizes(uint Minimum, uint Preferred, uint Maximum)
{
    /// <summary>What holds when the server names no constraints.</summary>
    public static NbdBlockSizes Unconstrained { get; } = new(1, NbdLimits.DefaultPreferredBlockSize, NbdLimits.DefaultMaxPayload);

    /// <exception cref="NbdProtocolException">The numbers contradict the spec.</exception>
    internal NbdBlockSizes Checked()
    {
        if (!BitOperations.IsPow2(Minimum) || Minimum > NbdLimits.MaxMinimumBlockSize || Maximum < Minimum)
            throw new NbdProtocolException(
                $"Server named block sizes minimum {Minimum}, preferred {Preferred}, maximum {Maximum} bytes, against the spec.");
        return this with { Maximum = Math.Min(Maximum, NbdLimits.DefaultMaxPayload) / Minimum * Minimum };
    }
}
