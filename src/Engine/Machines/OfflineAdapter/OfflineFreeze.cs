// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Runs;
using Tidemark.Libvirt;
using Tidemark.Qemu;
using Tidemark.Qemu.Qmp;

namespace Tidemark.Engine.Machines.OfflineAdapter;

/// <summary>
/// Opens the images of a machine that is off, read-only and without a lock: the machine can start at any moment. First the stamps of
/// all files, then their content: what is read after that is the point's, as long as the stamps stay.
/// </summary>
internal sealed class OfflineFreeze(IHypervisor hypervisor, LibvirtConnection connection, Domain domain, FreezeRequest request)
{
    // Fine enough for every chunk size; bitmaps of other granularity are merged into it.
    private const int Granularity = 64 * 1024;

    public async Task<IFrozenPoint> BeginAsync(CancellationToken cancellationToken)
    {
        var events = await connection.SubscribeAsync(domain.Uuid, cancellationToken);
        QemuStorageDaemon? daemon = null;
        try
        {
            await request.Reached(RunStep.Frozen);
            var (evidence, chains) = await LookAsync(cancellationToken);
            var time = DateTimeOffset.UtcNow;
            daemon = await QemuStorageDaemon.StartAsync(request.Folder, cancellationToken);
            await daemon.ListenAsync(RunFolder.Socket(request.Folder), cancellationToken);
            for (var at = 0; at < request.Disks.Count; at++)
                await OpenAsync(daemon, $"disk{at}", request.Disks[at], chains[at], cancellationToken);
            await request.Reached(RunStep.Begun);
            await request.Reached(RunStep.Thawed);
            return new OfflineFrozenPoint(request, daemon, evidence, events, time, await IsSavedAsync(cancellationToken));
        }
        catch (Exception e)
        {
            events.Dispose();
            if (daemon is not null)
                await daemon.DisposeAsync();
            if (e is UnreadableImageException or QmpCommandException or QmpClosedException)
            {
                throw EngineException.Failed(
                    $"Machine '{request.Machine.Name}' is off and cannot be read: {e.Message.TrimEnd('.')}.", inner: e);
            }

            throw;
        }
    }

    // Twice, with the stamps between: the second time, nothing has changed since them.
    private async Task<(OfflineEvidence Evidence, List<OfflineChain> Chains)> LookAsync(CancellationToken cancellationToken)
    {
        var first = await ReadChainsAsync(cancellationToken);
        var evidence = await OfflineEvidence.TakeAsync(
            hypervisor, domain, request.Machine, first.SelectMany(chain => chain.Files), cancellationToken);
        var second = await ReadChainsAsync(cancellationToken);
        for (var at = 0; at < first.Count; at++)
        {
            var disk = DiskOf(request.Disks[at]);
            if (first[at].Shape != second[at].Shape || !IsAsPlanned(second[at], disk))
            {
                throw EngineException.Failed(
                    $"Disk '{disk.Name}' of '{request.Machine.Name}' was changed while its backup began; run it again.");
            }
        }

        return (evidence, second);
    }

    private static bool IsAsPlanned(OfflineChain chain, MachineDisk disk) =>
        chain.Top.VirtualSize == disk.Size
        && ImageIdentity.Read(chain.Images[0].File.Path) == disk.Identity
        && Names(chain.Bitmaps()) == Names(disk.Bitmaps)
        && chain.Backing().Select(image => (image.Identity, Names(image.Bitmaps)))
            .SequenceEqual(disk.Backing.Select(image => (image.Identity, Names(image.Bitmaps))));

    private static string Names(IReadOnlyDictionary<string, BitmapHealth> bitmaps) =>
        string.Join(' ', bitmaps.Keys.Order(StringComparer.Ordinal));

    private async Task<List<OfflineChain>> ReadChainsAsync(CancellationToken cancellationToken)
    {
        var chains = new List<OfflineChain>();
        foreach (var wanted in request.Disks)
        {
            var disk = DiskOf(wanted);
            chains.Add(await OfflineChain.ReadAsync(disk.Path!, disk.Format, cancellationToken));
        }

        return chains;
    }

    private static async Task OpenAsync(
        QemuStorageDaemon daemon, string node, FreezeDisk disk, OfflineChain chain, CancellationToken cancellationToken)
    {
        for (var at = chain.Images.Count - 1; at >= 0; at--)
        {
            var image = chain.Images[at];
            await daemon.OpenAsync(
                new StorageImage
                {
                    Node = Name(at),
                    Format = image.Info.Format,
                    File = image.File,
                    DataFile = image.DataFile,
                    Backing = at + 1 < chain.Images.Count ? Name(at + 1) : null,
                },
                cancellationToken);
        }

        if (disk.Base is { } checkpoint)
            await MergeAsync(daemon, Name(0), disk.Name, checkpoint, chain, [.. chain.With(checkpoint).Select(Name)], cancellationToken);
        await daemon.ExportAsync(
            Name(0), disk.Name, disk.Base is null ? null : NbdDisks.BitmapOf(disk.Name), cancellationToken);

        string Name(int at) => $"{node}-{at}";
    }

    private static async Task MergeAsync(
        QemuStorageDaemon daemon,
        string node,
        string disk,
        string checkpoint,
        OfflineChain chain,
        IReadOnlyList<string> nodes,
        CancellationToken cancellationToken)
    {
        if (chain.Bitmaps().GetValueOrDefault(checkpoint, BitmapHealth.Broken) != BitmapHealth.Recording)
            throw new CheckpointUnusableException(disk, $"The bitmap '{checkpoint}' of disk '{disk}' has changed.");
        try
        {
            await daemon.MergeBitmapsAsync(node, NbdDisks.BitmapOf(disk), nodes, checkpoint, Granularity, cancellationToken);
        }
        catch (QmpCommandException e)
        {
            throw new CheckpointUnusableException(disk, e.Message);
        }
    }

    private MachineDisk DiskOf(FreezeDisk disk) => request.Machine.Disks.Single(found => found.Name == disk.Name);

    private async Task<bool> IsSavedAsync(CancellationToken cancellationToken) =>
        (await domain.GetStatusAsync(cancellationToken)).IsSaved || await domain.HasManagedSaveAsync(cancellationToken);
}
