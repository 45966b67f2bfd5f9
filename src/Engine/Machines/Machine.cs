// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Machines;

/// <summary>What the hypervisor calls a machine.</summary>
/// <param name="Name">Its name, which may be given to another one day.</param>
/// <param name="Uuid">Its identity, lower case with dashes.</param>
public sealed record KnownMachine(string Name, string Uuid);

/// <summary>A virtual machine as a backup sees it, read at one moment.</summary>
public sealed record Machine
{
    public required string Name { get; init; }

    /// <summary>The machine's identity in a repository, lower case with dashes.</summary>
    public required string Uuid { get; init; }

    /// <summary>Name of the host it was seen on.</summary>
    public required string Host { get; init; }

    public required MachineState State { get; init; }

    /// <summary>Disks that can be protected.</summary>
    public required IReadOnlyList<MachineDisk> Disks { get; init; }

    /// <summary>Disks that cannot, each with the reason.</summary>
    public required IReadOnlyList<UnprotectedDisk> NotProtected { get; init; }

    /// <summary>The guest has an agent and it is connected.</summary>
    public required bool AgentConnected { get; init; }

    /// <summary>A job of the hypervisor is active on it (backup, migration, …).</summary>
    public required bool JobActive { get; init; }

    /// <summary>The same machine with a disk that can carry no new bitmap.</summary>
    public Machine WithUntrackable(string disk, string reason) => this with
    {
        Disks = Disks.Select(found => found.Name == disk ? found with { Untrackable = reason } : found).ToList(),
    };

    /// <summary>The same machine with another opinion of all bitmaps on some of its disks.</summary>
    public Machine WithBitmaps(IReadOnlySet<string> disks, BitmapHealth health) => this with
    {
        Disks = Disks.Select(disk => !disks.Contains(disk.Name) ? disk : disk with
        {
            Bitmaps = disk.Bitmaps.Keys.ToDictionary(name => name, _ => health, StringComparer.Ordinal),
        }).ToList(),
    };
}

public enum MachineState
{
    Running,
    Paused,
    Off,
}

/// <summary>A disk that can be protected.</summary>
public sealed record MachineDisk
{
    /// <summary>Its target on the machine's bus, such as <c>vda</c>; unique in the machine.</summary>
    public required string Name { get; init; }

    /// <summary><c>file</c>, <c>block</c> or <c>network</c>.</summary>
    public required string Kind { get; init; }

    /// <summary>The image's format, such as <c>qcow2</c>.</summary>
    public required string Format { get; init; }

    /// <summary>Where the image lies, for people; null for network disks.</summary>
    public required string? Path { get; init; }

    public required string? Serial { get; init; }

    /// <summary>Virtual size in bytes.</summary>
    public required long Size { get; init; }

    /// <summary>Which image is topmost; null where it cannot be told.</summary>
    public required ImageIdentity? Identity { get; init; }

    /// <summary>Where the image keeps its data, if not in itself.</summary>
    public DataFile? DataFile { get; init; }

    /// <summary>The images below it, the nearest first.</summary>
    public IReadOnlyList<BackingImage> Backing { get; init; } = [];

    /// <summary>Why no bitmap can be kept on this disk; null when one can.</summary>
    public required string? Untrackable { get; init; }

    /// <summary>The bitmaps of the topmost image as the running machine has them, by name.</summary>
    public required IReadOnlyDictionary<string, BitmapHealth> Bitmaps { get; init; }

    /// <summary>Names of all bitmaps, also of those in the images below, which stay when a new image came on top without them.</summary>
    public IEnumerable<string> BitmapNames =>
        Bitmaps.Keys.Concat(Backing.SelectMany(image => image.Bitmaps.Keys)).Distinct(StringComparer.Ordinal);
}

/// <summary>An image below the topmost one of a disk; nothing writes to it any more.</summary>
/// <param name="Identity">Which image it is; null where it cannot be told.</param>
/// <param name="Size">Its virtual size in bytes; null where it cannot be told.</param>
/// <param name="Bitmaps">Its bitmaps, by name: they hold what was written while it was topmost.</param>
public sealed record BackingImage(ImageIdentity? Identity, long? Size, IReadOnlyDictionary<string, BitmapHealth> Bitmaps);

public enum BitmapHealth
{
    /// <summary>Persistent, recording and consistent on its image.</summary>
    Recording,

    /// <summary>There, but it has not seen every write.</summary>
    Broken,

    /// <summary>There and recording, but something else holds it, and it cannot be read now.</summary>
    Busy,

    /// <summary>There and recording, but a look at the disk showed changes that are missing in it.</summary>
    Incomplete,

    /// <summary>There and recording, but the hypervisor did not begin a backup from it.</summary>
    Refused,
}

/// <summary>A disk that is left out of backups, and why.</summary>
/// <param name="Name">Its target.</param>
/// <param name="Reason">Why, as part of a sentence.</param>
/// <param name="IsLoss">Somebody may miss it: it is no drive for media that come and go, and nobody chose to leave it out.</param>
public sealed record UnprotectedDisk(string Name, string Reason, bool IsLoss = true);
