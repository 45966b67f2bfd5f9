// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using System.Text.Json.Nodes;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>Removes a checkpoint and its bitmaps, also when the record, or the bitmap of a disk, is missing.</summary>
internal static class CheckpointRemoval
{
    public static async Task RemoveAsync(Domain domain, string checkpoint, CancellationToken cancellationToken)
    {
        if (!(await domain.GetStatusAsync(cancellationToken)).IsActive)
            return; // libvirt refuses; the record stays, so that the next live run finds and removes it with its bitmaps.
        var known = await domain.HasCheckpointAsync(checkpoint, cancellationToken);
        if (known)
        {
            try
            {
                await domain.DeleteCheckpointAsync(checkpoint, cancellationToken: cancellationToken);
                return;
            }
            catch (LibvirtException e) when (e is not (LibvirtConnectionException or LibvirtBusyException))
            {
                // The bitmap of some disk is gone, and libvirt then removes none: take them one by one.
            }
        }

        var answer = await domain.QemuMonitorCommandAsync(BlockNodes.Query, cancellationToken: cancellationToken);
        foreach (var node in BlockNodes.Parse(answer).Values.DistinctBy(node => node.Node, StringComparer.Ordinal))
        {
            if (node.Bitmaps.ContainsKey(checkpoint))
                await RemoveFromNodeAsync(domain, node.Node, checkpoint, cancellationToken);
        }

        if (known)
            await domain.DeleteCheckpointAsync(checkpoint, CheckpointDeleteFlags.MetadataOnly, cancellationToken);
    }

    /// <summary>Removes a bitmap from the top image of one disk of a running machine; one that is gone already is no failure.</summary>
    public static async Task RemoveBitmapAsync(Domain domain, string disk, string bitmap, CancellationToken cancellationToken)
    {
        var description = DomainDescription.Parse(await domain.GetXmlAsync(cancellationToken: cancellationToken));
        var alias = description.Disks.FirstOrDefault(candidate => candidate.Target == disk)?.Alias ?? "";
        var nodes = BlockNodes.Parse(await domain.QemuMonitorCommandAsync(BlockNodes.Query, cancellationToken: cancellationToken));
        if (nodes.GetValueOrDefault(alias) is { } node && node.Bitmaps.ContainsKey(bitmap))
            await RemoveFromNodeAsync(domain, node.Node, bitmap, cancellationToken);
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
