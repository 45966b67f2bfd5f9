// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Storm.Tests;

internal sealed partial class Storm
{
    private const string OurPrefix = "tidemark-";
    private const int MostForeign = 3;

    private async Task RemoveBitmapAsync()
    {
        var ours = (await BitmapsAsync()).Where(bitmap => IsOurs(bitmap.Name)).ToList();
        if (ours.Count == 0)
            throw new RefusedException("there is no bitmap of ours");
        var (disk, layer, node, name) = ours[_random.Next(ours.Count)];
        Say($"of {disk} on layer {layer}");
        await MayBeRefusedAsync(() => _machine.QmpAsync(
            $$$"""{"execute":"block-dirty-bitmap-remove","arguments":{"node":"{{{node}}}","name":"{{{name}}}"}}""", Token));
        Excuse("remove bitmap", _machine.Disks);
    }

    private async Task DeleteCheckpointAsync()
    {
        var ours = (await _machine.Domain.ListCheckpointsAsync(Token)).Where(IsOurs).Order(StringComparer.Ordinal).ToList();
        if (ours.Count == 0)
            throw new RefusedException("there is no checkpoint of ours");
        var recordOnly = _random.Next(2) == 0;
        Say(recordOnly ? "the record only" : "whole");
        var flags = recordOnly ? CheckpointDeleteFlags.MetadataOnly : CheckpointDeleteFlags.None;
        await MayBeRefusedAsync(() => _machine.Domain.DeleteCheckpointAsync(ours[_random.Next(ours.Count)], flags, Token));
        if (!recordOnly)
            Excuse("delete our checkpoint", _machine.Disks);
    }

    private async Task ForeignCheckpointAsync()
    {
        var foreign = (await _machine.Domain.ListCheckpointsAsync(Token)).Where(name => !IsOurs(name)).ToList();
        if (foreign.Count < MostForeign)
        {
            var disks = _machine.Disks.Select(disk => new CheckpointDisk(disk, true)).ToList();
            var xml = CheckpointXml.Write(new CheckpointDescription(NewName("virtnbdbackup."), disks));
            await MayBeRefusedAsync(() => _machine.Domain.CreateCheckpointAsync(xml, cancellationToken: Token));
        }
        else
        {
            Say("one deleted");
            await MayBeRefusedAsync(() => _machine.Domain.DeleteCheckpointAsync(
                foreign[_random.Next(foreign.Count)], cancellationToken: Token));
        }
    }

    private static bool IsOurs(string checkpoint) => checkpoint.StartsWith(OurPrefix, StringComparison.Ordinal);

    /// <summary>All bitmaps of all images under the disks; layer 0 is the topmost.</summary>
    private async Task<IReadOnlyList<(string Disk, int Layer, string Node, string Name)>> BitmapsAsync()
    {
        var nodes = await _machine.QmpAsync("""{"execute":"query-named-block-nodes","arguments":{"flat":true}}""", Token);
        var found = new List<(string, int, string, string)>();
        foreach (var disk in _machine.Disks)
        {
            foreach (var (layer, image) in (await LayersAsync(disk)).Index())
            {
                foreach (var node in nodes.EnumerateArray().Where(node => Text(node, "file") == image))
                {
                    if (!node.TryGetProperty("dirty-bitmaps", out var bitmaps))
                        continue;
                    // Those without a name are a job's own.
                    found.AddRange(bitmaps.EnumerateArray().Select(bitmap => Text(bitmap, "name")).Where(name => name.Length > 0)
                        .Select(name => (disk, layer, Text(node, "node-name"), name)));
                }
            }
        }

        return found;
    }

    private static string Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) ? value.GetString() ?? "" : "";
}
