// SPDX-License-Identifier: Apache-2.0
using System.Xml.Linq;

namespace Tidemark.Lab;

/// <summary>Snapshots and block jobs, as an administrator asks for them with virsh. Each returns when the job is over.</summary>
public sealed partial class LabMachine
{
    /// <summary>Paths of the images under a disk, the topmost first.</summary>
    public async Task<IReadOnlyList<string>> ImagesAsync(string target, CancellationToken cancellationToken = default)
    {
        var document = (await DescribeAsync(cancellationToken)).Document;
        var disk = document.Descendants("disk").Single(candidate => (string?)candidate.Element("target")?.Attribute("dev") == target);
        var paths = new List<string>();
        for (XElement? layer = disk; layer?.Element("source") is { } source; layer = layer.Element("backingStore"))
            paths.Add((string?)source.Attribute("file") ?? (string)source.Attribute("dev")!);
        return paths;
    }

    /// <summary>Puts a new empty overlay on each of these disks at one instant; libvirt keeps no record of it.</summary>
    public async Task SnapshotAsync(string name, IReadOnlyList<string> targets, CancellationToken cancellationToken = default)
    {
        var disks = Disks.SelectMany(disk => new[]
        {
            "--diskspec",
            targets.Contains(disk, StringComparer.Ordinal) ? $"{disk},file={OverlayPath(disk, name)}" : $"{disk},snapshot=no",
        });
        await VirshAsync(["snapshot-create-as", Name, name, "--disk-only", "--no-metadata", "--atomic", .. disks], cancellationToken);
    }

    /// <summary>A snapshot of disks and memory inside the images.</summary>
    public Task SnapshotInsideAsync(string name, bool keepRecord = false, CancellationToken cancellationToken = default) =>
        VirshAsync(["snapshot-create-as", Name, name, .. keepRecord ? (string[])[] : ["--no-metadata"]], cancellationToken);

    /// <summary>Where <see cref="SnapshotAsync"/> puts the overlay of a disk.</summary>
    public string OverlayPath(string target, string name) =>
        Path.Combine(Path.GetDirectoryName(ImagePath(target))!, $"{Name}-{target}.{name}");

    /// <summary>Merges the images from the topmost down into <paramref name="basePath"/>, which is the topmost afterwards.</summary>
    public Task CommitAsync(string target, string basePath, CancellationToken cancellationToken = default) =>
        VirshAsync(["blockcommit", Name, target, "--base", basePath, "--active", "--pivot"], cancellationToken);

    /// <summary>Merges images in the middle into one below; the topmost stays what it is.</summary>
    public Task CommitMiddleAsync(string target, string topPath, string basePath, CancellationToken cancellationToken = default) =>
        VirshAsync(["blockcommit", Name, target, "--top", topPath, "--base", basePath, "--wait"], cancellationToken);

    /// <summary>Takes what the images below hold into the topmost one, down to <paramref name="basePath"/> or to the end.</summary>
    public Task PullAsync(string target, string? basePath = null, CancellationToken cancellationToken = default) =>
        VirshAsync(["blockpull", Name, target, "--wait", .. basePath is null ? (string[])[] : ["--base", basePath]], cancellationToken);

    /// <summary>Mirrors a disk to a new image; the machine goes on with the copy, or the mirror stays until it is ended.</summary>
    public Task CopyToAsync(string target, string path, bool pivot, CancellationToken cancellationToken = default) =>
        VirshAsync(
            [
                "blockcopy", Name, target, "--dest", path, "--format", "qcow2", "--transient-job", "--wait",
                .. pivot ? (string[])["--pivot"] : [],
            ],
            cancellationToken);

    /// <summary>Ends a mirror that stayed; the machine goes on with the old image.</summary>
    public Task EndCopyAsync(string target, CancellationToken cancellationToken = default) =>
        VirshAsync(["blockjob", Name, target, "--abort"], cancellationToken);

    /// <summary>virsh on the machine's host; what it says when it succeeds.</summary>
    public Task<string> VirshAsync(IEnumerable<string> arguments, CancellationToken cancellationToken = default) =>
        Tool.RunAsync("virsh", ["-q", "-c", Host.Uri, .. arguments], cancellationToken);
}
