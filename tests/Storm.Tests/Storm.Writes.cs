// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storm.Tests;

internal sealed partial class Storm
{
    private const int Sector = 512;

    private async Task WriteAsync()
    {
        for (var left = _random.Next(1, 4); left > 0; left--)
        {
            var (disk, offset, length) = await AnyRangeAsync(Mebi);
            if (_random.Next(3) == 0)
                await WriteNoiseAsync(disk, offset, length);
            else
                await _machine.WriteAsync(disk, offset, length, (byte)_random.Next(256), Token);
        }
    }

    private async Task DiscardAsync()
    {
        var (disk, offset, length) = await AnyRangeAsync(2 * Mebi);
        await _machine.DiscardAsync(disk, offset, length, Token);
    }

    private async Task WriteZeroesAsync()
    {
        var (disk, offset, length) = await AnyRangeAsync(2 * Mebi);
        await _machine.WriteZeroesAsync(disk, offset, length, unmap: _random.Next(2) == 0, Token);
    }

    private async Task ResizeAsync()
    {
        var disk = AnyDisk();
        var unit = _random.Next(3) == 0 ? Sector : 65536;
        var size = _random.NextInt64(4 * Mebi, 24 * Mebi) / unit * unit;
        Say($"{disk} to {size}");
        await MayBeRefusedAsync(() => _machine.ResizeAsync(disk, size, Token));
        Excuse("resize", disk);
    }

    private async Task WriteNoiseAsync(string disk, long offset, long length)
    {
        var bytes = new byte[length];
        _random.NextBytes(bytes);
        await _machine.WriteBytesAsync(disk, offset, bytes, Token);
    }

    private async Task<long> SizeAsync(string disk) => (await _machine.Domain.GetBlockInfoAsync(disk, Token)).Capacity;

    // Often within the last mebibyte: ends of disks, of images and of bitmaps are where things are forgotten.
    private async Task<(string Disk, long Offset, long Length)> AnyRangeAsync(int most)
    {
        var disk = AnyDisk();
        var size = await SizeAsync(disk);
        var offset = _random.NextInt64(_random.Next(4) == 0 ? size - Mebi : 0, size) / Sector * Sector;
        var length = Math.Min(size - offset, _random.NextInt64(Sector, _random.Next(2) == 0 ? 16 * Sector : most) / Sector * Sector);
        Say($"{disk} {offset}+{length}");
        return (disk, offset, length);
    }
}
