// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Nodes;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>Removes a checkpoint and its bitmaps, also when the record, or the bitmap of a disk, is missing.</summary>
internal static class CheckpointRemoval
{
    // One for each gap in a chain of overlays: libvirt removes a bitmap from images that lie directly on each other.
    private const int Attempts = 8;

    public static async Task RemoveAsync(Domain domain, string checkpoint, CancellationToken cancellationToken)
    {
        if (!(await domain.GetStatusAsync(cancellationToken)).IsActive)
            return; // libvirt refuses; the record stays, so that the next live run finds and removes it with its bitmaps.
        var known = await domain.HasCheckpointAsync(checkpoint, cancellationToken);
        for (var left = Attempts; left > 0; left--)
        {
            var disks = known ? [] : await DisksWithBitmapAsync(domain, checkpoint, cancellationToken);
            if (!known && disks.Count == 0)
                return;
            try
            {
                // libvirt opens the lower images for writing where they have it too, which QEMU alone would refuse: so it is told of
                // bitmaps that nobody has a record of.
                if (!known)
                    await RedefineAsync(domain, checkpoint, disks, cancellationToken);
                await domain.DeleteCheckpointAsync(checkpoint, cancellationToken: cancellationToken);
                known = false;
            }
            catch (LibvirtException e) when (e is not (LibvirtConnectionException or LibvirtBusyException))
            {
                if (!known)
                    break;
                // The bitmap of some disk is gone, and libvirt then removes none: the record is replaced by one of those that are left.
                await domain.DeleteCheckpointAsync(checkpoint, CheckpointDeleteFlags.MetadataOnly, cancellationToken);
                known = false;
            }
        }

        await RemoveFromTopAsync(domain, checkpoint, cancellationToken);
    }

    private static Task RedefineAsync(
        Domain domain, string checkpoint, IReadOnlyList<string> disks, CancellationToken cancellationToken) =>
        domain.CreateCheckpointAsync(
            CheckpointXml.Write(new CheckpointDescription(checkpoint, disks.Select(disk => new CheckpointDisk(disk, true)).ToList())
            {
                CreationTime = DateTimeOffset.UtcNow,
            }),
            CheckpointCreateFlags.Redefine,
            cancellationToken);

    // Disks that have it in any image of their chain.
    private static async Task<IReadOnlyList<string>> DisksWithBitmapAsync(
        Domain domain, string bitmap, CancellationToken cancellationToken)
    {
        var description = DomainDescription.Parse(await domain.GetXmlAsync(cancellationToken: cancellationToken));
        var top = BlockNodes.Parse(await domain.QemuMonitorCommandAsync(BlockNodes.Query, cancellationToken: cancellationToken));
        var all = BlockNodes.ParseAll(await domain.QemuMonitorCommandAsync(BlockNodes.QueryAll, cancellationToken: cancellationToken));
        return description.Disks.Where(disk =>
            top.GetValueOrDefault(disk.Alias ?? "")?.Bitmaps.ContainsKey(bitmap) == true
            || disk.Backing.Any(image => image.Index is { } index
                && all.GetValueOrDefault(BlockNodes.NameOf(index))?.Bitmaps.ContainsKey(bitmap) == true))
            .Select(disk => disk.Target).ToList();
    }

    // Without libvirt, as far as QEMU lets it be done: from the topmost images, then the record.
    private static async Task RemoveFromTopAsync(Domain domain, string checkpoint, CancellationToken cancellationToken)
    {
        var answer = await domain.QemuMonitorCommandAsync(BlockNodes.Query, cancellationToken: cancellationToken);
        foreach (var node in BlockNodes.Parse(answer).Values.DistinctBy(node => node.Node, StringComparer.Ordinal))
        {
            if (node.Bitmaps.ContainsKey(checkpoint))
                await RemoveFromNodeAsync(domain, node.Node, checkpoint, cancellationToken);
        }

        await CheckpointRecords.ForgetAsync(domain, checkpoint, cancellationToken);
    }

    private static async Task RemoveFromNodeAsync(Domain domain, string node, string bitmap, CancellationToken cancellationToken)
    {
        var command = new JsonObject
        {
            ["execute"] = "block-dirty-bitmap-remove",
            ["arguments"] = new JsonObject { ["node"] = node, ["name"] = bitmap },
        }.ToJsonString();
        var answer = await domain.QemuMonitorCommandAsync(command, cancellationToken: cancellationToken);
        using var document = JsonDocument.Parse(answer);
        if (document.RootElement.TryGetProperty("error", out var error))
            throw EngineException.Failed($"Bitmap '{bitmap}' of node '{node}' cannot be removed: {error.GetProperty("desc").GetString()}");
    }
}
