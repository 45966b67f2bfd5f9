// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Verify;

/// <summary>How deep a check goes.</summary>
public enum VerifyLevel
{
    /// <summary>Every point opens, and everything it names is there with its size.</summary>
    Quick,

    /// <summary>And every pack has the hash that its name says.</summary>
    Packs,

    /// <summary>And every chunk decrypts to what was stored.</summary>
    Data,
}

/// <summary>What a check found; the shape is part of the command-line contract.</summary>
public sealed record VerifyResult(bool Ok, VerifyCounts Checked, IReadOnlyList<DamagedItem> Damaged)
{
    /// <summary>What the check asked of the store.</summary>
    public Repositories.Requests? Requests { get; init; }
}

/// <summary>How much was looked at.</summary>
public sealed record VerifyCounts(string Level, int Points, long Objects, long Bytes);

/// <summary>A damaged object, and the restore points that need it.</summary>
public sealed record DamagedItem(string Object, string Problem, IReadOnlyList<string> Points);
