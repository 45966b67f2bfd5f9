// SPDX-License-Identifier: Apache-2.0
using Tidemark.Blocks;
using Tidemark.Engine.Runs;
using Tidemark.Nbd;

namespace Tidemark.Engine.Machines;

/// <summary>The disks of a frozen point, read over the NBD socket in its run's folder; an export is named after its disk.</summary>
internal sealed class NbdDisks(FreezeRequest request) : IAsyncDisposable
{
    // QEMU's server takes 100 clients; the next one waits for an answer that never comes.
    private const int MostConnections = 96;

    private readonly Dictionary<string, FrozenDisk> _disks = new(StringComparer.Ordinal);

    public IFrozenDisk this[string name] => _disks[name];

    /// <summary>The bitmap that says what changed on a disk, as both libvirt and we name it.</summary>
    public static string BitmapOf(string disk) => $"backup-{disk}";

    public async Task OpenAsync(CancellationToken cancellationToken)
    {
        var each = MostConnections / request.Disks.Count;
        if (each == 0)
        {
            throw EngineException.Usage(
                $"Machine '{request.Machine.Name}' has {request.Disks.Count} disks to back up; QEMU serves {MostConnections} at once.",
                "back up some of them at a time: --disk NAME, again for more");
        }

        foreach (var disk in request.Disks)
        {
            var uri = NbdUri.ForUnixSocket(RunFolder.Socket(request.Folder), disk.Name);
            var bitmap = disk.Base is null ? null : $"qemu:dirty-bitmap:{BitmapOf(disk.Name)}";
            var options = NbdClientOptions.Default with
            {
                Connections = Math.Min(NbdClientOptions.Default.Connections, each),
                Contexts = bitmap is null ? [NbdMetaContext.BaseAllocation] : [NbdMetaContext.BaseAllocation, bitmap],
            };
            var source = await NbdBlockSource.OpenAsync(uri, options, cancellationToken);
            _disks.Add(disk.Name, new FrozenDisk(source, bitmap));
            if (bitmap is not null && !source.Export.HasContext(bitmap))
                throw EngineException.Failed($"QEMU does not offer the changes of disk '{disk.Name}' of '{request.Machine.Name}'.");
        }
    }

    /// <summary>Closes every connection.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var disk in _disks.Values)
            await disk.Source.DisposeAsync();
    }

    private sealed class FrozenDisk(NbdBlockSource source, string? bitmap) : IFrozenDisk
    {
        public IBlockSource Source => source;

        public IAsyncEnumerable<ByteRange> ChangedAsync(CancellationToken cancellationToken) => bitmap is null
            ? throw new InvalidOperationException("The disk is read in full; nothing tells what changed.")
            : source.DirtyRangesAsync(bitmap, new ByteRange(0, source.Size), cancellationToken);
    }
}
