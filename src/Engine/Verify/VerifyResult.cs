// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;

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
/// <param name="Ok">Nothing is damaged and everything due was read.</param>
/// <param name="Checked">How much was looked at.</param>
/// <param name="Damaged">What is damaged; its restore points are hurt until it is healed.</param>
/// <param name="Healed">Quarantined packs that hurt nothing any more.</param>
/// <param name="Quarantined">Packs that this check has recorded as damaged.</param>
/// <param name="Unread">Packs that the store failed to read: nothing is known of them.</param>
/// <param name="OldestCheck">When the pack longest unchecked was last found sound, or written.</param>
public sealed record VerifyResult(
    bool Ok, VerifyCounts Checked, IReadOnlyList<DamagedItem> Damaged, IReadOnlyList<string> Healed, IReadOnlyList<string> Quarantined,
    IReadOnlyList<UnreadItem> Unread, DateTimeOffset? OldestCheck)
{
    /// <summary>Points that are whole as far as the repository goes, but may lack changes of their disks.</summary>
    public IReadOnlyList<DoubtfulItem> Doubtful { get; init; } = [];

    /// <summary>Restore points whose disks were not read, as the key does not open their key domains.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public int OtherDomains { get; init; }

    /// <summary>What the check asked of the store.</summary>
    public Repositories.Requests? Requests { get; init; }
}

/// <summary>How much was looked at.</summary>
public sealed record VerifyCounts(string Level, int Points, long Objects, long Bytes);

/// <summary>A disk of a point that may lack changes.</summary>
public sealed record DoubtfulItem(string Point, string Disk, string Problem);

/// <summary>An object that the store would not read.</summary>
public sealed record UnreadItem(string Object, string Problem);

/// <summary>A damaged object, and the restore points that need it.</summary>
public sealed record DamagedItem(string Object, string Problem, IReadOnlyList<string> Points);
