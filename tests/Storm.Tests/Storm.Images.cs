// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storm.Tests;

internal sealed partial class Storm
{
    private const int MostLayers = 4;

    private async Task SnapshotAsync()
    {
        var disks = _random.Next(2) == 0 ? _machine.Disks.ToList() : [AnyDisk()];
        foreach (var disk in disks)
        {
            if ((await LayersAsync(disk)).Count > MostLayers)
                throw new RefusedException($"{disk} has enough layers");
        }

        var name = NewName("s");
        Say($"{name} of {string.Join(' ', disks)}");
        await MayBeRefusedAsync(() => _machine.SnapshotAsync(name, disks, Token));
    }

    private Task SnapshotInsideAsync() => MayBeRefusedAsync(() => _machine.SnapshotInsideAsync(NewName("i"), cancellationToken: Token));

    private async Task CommitAsync()
    {
        var (disk, layers) = await LayeredDiskAsync(2);
        var target = _random.Next(1, layers.Count);
        Say($"{disk} {layers.Count} layers, from 0 into {target}");
        await MayBeRefusedAsync(() => _machine.CommitAsync(disk, layers[target], Token));
        Forget(layers.Take(target));
        Excuse("commit", disk);
    }

    private async Task CommitMiddleAsync()
    {
        var (disk, layers) = await LayeredDiskAsync(3);
        var top = _random.Next(1, layers.Count - 1);
        var target = _random.Next(top + 1, layers.Count);
        Say($"{disk} {layers.Count} layers, from {top} into {target}");
        await MayBeRefusedAsync(() => _machine.CommitMiddleAsync(disk, layers[top], layers[target], Token));
        Forget(layers.Take(target).Skip(top));
        Excuse("commit middle", disk);
    }

    private async Task PullAsync()
    {
        var (disk, layers) = await LayeredDiskAsync(2);
        var below = layers.Count > 2 && _random.Next(2) == 0 ? _random.Next(2, layers.Count) : layers.Count;
        Say($"{disk} {layers.Count} layers, down to {below}");
        await MayBeRefusedAsync(() => _machine.PullAsync(disk, below == layers.Count ? null : layers[below], Token));
        Forget(layers.Take(below).Skip(1));
        Excuse("pull", disk);
    }

    private async Task CopyAsync()
    {
        var disk = AnyDisk();
        var layers = await LayersAsync(disk);
        Say(disk);
        await MayBeRefusedAsync(() => _machine.CopyToAsync(disk, _machine.OverlayPath(disk, NewName("c")), pivot: true, Token));
        Forget(layers);
        Excuse("copy", disk);
    }

    private async Task<(string Disk, IReadOnlyList<string> Layers)> LayeredDiskAsync(int least)
    {
        var first = AnyDisk();
        foreach (var disk in new[] { first }.Concat(_machine.Disks))
        {
            var layers = await LayersAsync(disk);
            if (layers.Count >= least)
                return (disk, layers);
        }

        throw new RefusedException("no disk has enough layers");
    }

    private Task<IReadOnlyList<string>> LayersAsync(string disk) => _machine.ImagesAsync(disk, Token);

    // As an administrator does with images that are not in use any more.
    private static void Forget(IEnumerable<string> images)
    {
        foreach (var image in images)
            File.Delete(image);
    }
}
