// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines.OfflineAdapter;
using Tidemark.Engine.Runs;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;
using Tidemark.Qemu;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>Machines of a libvirt daemon on this host.</summary>
internal sealed class LibvirtHypervisor : IHypervisor
{
    // Longer than libvirt waits for a machine's lock.
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan ReopenPatience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan StopPoll = TimeSpan.FromMilliseconds(20);

    private readonly LibvirtConnection _connection;
    private readonly string _host;

    private LibvirtHypervisor(string? connect, LibvirtConnection connection, string host)
    {
        Connect = connect;
        _connection = connection;
        _host = host;
    }

    public string? Connect { get; }

    public static Task<IHypervisor> OpenAsync(string? connect, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync<IHypervisor>(async () =>
        {
            var connection = await LibvirtConnection.OpenAsync(connect, cancellationToken: cancellationToken);
            return new LibvirtHypervisor(connect, connection, await connection.GetHostnameAsync(cancellationToken));
        });

    public Task<IReadOnlyList<KnownMachine>> NamesAsync(CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync<IReadOnlyList<KnownMachine>>(async () =>
            [.. (await _connection.ListDomainsAsync(cancellationToken)).Select(Known)]);

    public Task<KnownMachine?> LookUpAsync(string nameOrUuid, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
            await DomainAsync(nameOrUuid, cancellationToken) is { } domain ? Known(domain) : null);

    public Task<IReadOnlyList<Machine>> ListAsync(CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync<IReadOnlyList<Machine>>(async () =>
        {
            var machines = new List<Machine>();
            foreach (var domain in await _connection.ListDomainsAsync(cancellationToken))
            {
                try
                {
                    machines.Add(await DescribeAsync(domain, cancellationToken));
                }
                catch (LibvirtNotFoundException) when (!cancellationToken.IsCancellationRequested)
                {
                    // Undefined meanwhile.
                }
            }

            return machines;
        });

    public async Task<Machine?> FindAsync(string nameOrUuid, CancellationToken cancellationToken) =>
        await LibvirtFailures.TranslateAsync(async () =>
        {
            await _connection.ReopenAsync(ReopenPatience, cancellationToken); // the daemon may have been restarted since the last run
            return await DomainAsync(nameOrUuid, cancellationToken) is { } domain ? await DescribeAsync(domain, cancellationToken) : null;
        });

    public Task<MachineDefinition> DefinitionAsync(Machine machine, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
        {
            await _connection.ReopenAsync(ReopenPatience, cancellationToken); // asked in the middle of a run, which outlives the daemon
            var domain = await RequireAsync(machine.Uuid, cancellationToken);
            var text = await DefinitionAsync(domain, DomainXmlFlags.Secure, cancellationToken);
            return MachineFiles.Collect(text, () => HostProcesses.TpmFolder(machine.Uuid) ?? TpmFolder(machine.Uuid));
        });

    public Task<string> OpenDefinitionAsync(string machineUuid, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
            await DefinitionAsync(await RequireAsync(machineUuid, cancellationToken), DomainXmlFlags.None, cancellationToken));

    public Task<IReadOnlyList<CheckpointRecord>> CheckpointsAsync(string machineUuid, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
            await CheckpointRecords.ReadAsync(await RequireAsync(machineUuid, cancellationToken), cancellationToken));

    public Task RedefineCheckpointAsync(string machineUuid, CheckpointRecord checkpoint, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
            await CheckpointRecords.RedefineAsync(await RequireAsync(machineUuid, cancellationToken), checkpoint, cancellationToken));

    public Task ForgetCheckpointAsync(string machineUuid, string checkpoint, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
            await CheckpointRecords.ForgetAsync(await RequireAsync(machineUuid, cancellationToken), checkpoint, cancellationToken));

    public Task<IFrozenPoint> FreezeAsync(FreezeRequest request, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
        {
            var domain = await RequireAsync(request.Machine.Uuid, cancellationToken);
            return request.Machine.State == MachineState.Off
                ? await new OfflineFreeze(this, _connection, domain, request).BeginAsync(cancellationToken)
                : await LibvirtFreeze.BeginAsync(_connection, domain, request, cancellationToken);
        });

    public Task DeleteCheckpointAsync(string machineUuid, string checkpoint, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
        {
            if (await DomainAsync(machineUuid, cancellationToken) is { } domain)
                await CheckpointRemoval.RemoveAsync(domain, checkpoint, cancellationToken);
        });

    public async Task<bool> ThawAsync(string machineUuid, TimeSpan limit, CancellationToken cancellationToken)
    {
        try
        {
            await _connection.ReopenAsync(ReopenPatience, cancellationToken);
            if (await DomainAsync(machineUuid, cancellationToken) is not { } domain)
                return true;
            if (!(await domain.GetStatusAsync(cancellationToken)).IsActive)
                return true;
            return await GuestFreeze.TryThawAsync(domain, limit, cancellationToken) is not null;
        }
        catch (LibvirtException)
        {
            return false;
        }
    }

    public Task EndJobAsync(string machineUuid, string folder, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
        {
            await QemuStorageDaemon.EndLeftoverAsync(folder, cancellationToken);
            await _connection.ReopenAsync(ReopenPatience, cancellationToken);
            if (await DomainAsync(machineUuid, cancellationToken) is not { } domain)
                return;
            if (!(await domain.GetStatusAsync(cancellationToken)).IsActive)
                return;
            await BackupJob.EndAsync(domain, RunFolder.Socket(folder), cancellationToken);
        });

    public Task<string> DefineAsync(string xml, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
            (await _connection.DefineDomainAsync(xml, validate: true, cancellationToken)).Uuid.ToString("d"));

    public Task StartAsync(string machineUuid, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
            await (await RequireAsync(machineUuid, cancellationToken)).StartAsync(cancellationToken: cancellationToken));

    public string TpmFolder(string machineUuid) => MachineFiles.TpmFolder(_connection.Uri, machineUuid);

    public ValueTask DisposeAsync() => _connection.DisposeAsync();

    private static KnownMachine Known(Domain domain) => new(domain.Name, domain.Uuid.ToString("d"));

    private async Task<Domain> RequireAsync(string uuid, CancellationToken cancellationToken) =>
        await DomainAsync(uuid, cancellationToken)
        ?? throw EngineException.Failed($"Machine '{uuid}' is not known to the hypervisor any more.");

    private async Task<Domain?> DomainAsync(string nameOrUuid, CancellationToken cancellationToken)
    {
        // The UUID first: a machine may be called anything, also by the UUID of another.
        if (Guid.TryParse(nameOrUuid, out var uuid)
            && await OrNullAsync(_connection.GetDomainAsync(uuid, cancellationToken)) is { } found)
            return found;
        return await OrNullAsync(_connection.GetDomainAsync(nameOrUuid, cancellationToken));
    }

    private static async Task<Domain?> OrNullAsync(Task<Domain> lookup)
    {
        try
        {
            return await lookup;
        }
        catch (LibvirtNotFoundException)
        {
            return null;
        }
    }

    private Task<Machine> DescribeAsync(Domain domain, CancellationToken cancellationToken) =>
        LibvirtFailures.WithinAsync(domain.Name, AnswerLimit, () => DescribePatientlyAsync(domain, cancellationToken));

    private async Task<Machine> DescribePatientlyAsync(Domain domain, CancellationToken cancellationToken)
    {
        try
        {
            return await DescribeNowAsync(domain, cancellationToken);
        }
        catch (LibvirtException e) when (
            e.Code is LibvirtErrorCode.OperationInvalid or LibvirtErrorCode.Internal or LibvirtErrorCode.SystemError)
        {
            // It stopped between two questions. That QEMU went is reported before the machine counts as stopped.
            if (e.Code != LibvirtErrorCode.OperationInvalid && !await StopsAsync(domain, cancellationToken))
                throw;
            return await DescribeNowAsync(domain, cancellationToken);
        }
    }

    private static async Task<bool> StopsAsync(Domain domain, CancellationToken cancellationToken)
    {
        var asked = Stopwatch.GetTimestamp();
        while ((await domain.GetStatusAsync(cancellationToken)).IsActive)
        {
            if (Stopwatch.GetElapsedTime(asked) > StopPatience)
                return false;
            await Task.Delay(StopPoll, cancellationToken);
        }

        return true;
    }

    private async Task<Machine> DescribeNowAsync(Domain domain, CancellationToken cancellationToken)
    {
        var status = await domain.GetStatusAsync(cancellationToken);
        var description = DomainDescription.Parse(await domain.GetXmlAsync(cancellationToken: cancellationToken));
        const string Nothing = "{}";
        var top = status.IsActive ? await BlockQuery.TryAskAsync(domain, BlockNodes.Query, cancellationToken) : Nothing;
        var below = status.IsActive && description.Disks.Any(disk => disk.Backing.Count > 0)
            ? await BlockQuery.TryAskAsync(domain, BlockNodes.QueryAll, cancellationToken)
            : Nothing;
        var (nodes, all) = (BlockNodes.Parse(top ?? Nothing), BlockNodes.ParseAll(below ?? Nothing));
        var disks = new List<MachineDisk>();
        var left = new List<UnprotectedDisk>();
        foreach (var disk in description.Disks)
        {
            if (DiskProtection.WhyNot(disk) is { } reason)
                left.Add(new UnprotectedDisk(disk.Target, reason, IsLoss: !DiskProtection.IsForMedia(disk)));
            else if (top is null || below is null)
                left.Add(new UnprotectedDisk(disk.Target, BlockQuery.TooLong));
            else if (!status.IsActive)
                await DescribeOfflineAsync(disk, disks, left, cancellationToken);
            else if (await TryDescribeAsync(domain, disk, nodes.GetValueOrDefault(disk.Alias ?? ""), cancellationToken) is { } found)
                disks.Add(found with { Backing = disk.Backing.Select(source => Describe(source, all)).ToList() });
            else if (await StopsAsync(domain, cancellationToken))
                return await DescribeNowAsync(domain, cancellationToken);
            else
                left.Add(new UnprotectedDisk(disk.Target, "its image cannot be opened"));
        }

        return new Machine
        {
            Name = domain.Name,
            Uuid = domain.Uuid.ToString("d"),
            Host = _host,
            State = !status.IsActive ? MachineState.Off
                : status.State == DomainState.Paused ? MachineState.Paused : MachineState.Running,
            Disks = disks,
            NotProtected = left,
            AgentConnected = description.IsAgentConnected,
            JobActive = description.Disks.Any(disk => disk.HasMirror)
                || (status.IsActive && (await domain.GetJobStatsAsync(cancellationToken: cancellationToken)).IsActive),
        };
    }

    private static BackingImage Describe(DiskSource source, IReadOnlyDictionary<string, BlockNode> nodes)
    {
        var node = source.Index is { } index ? nodes.GetValueOrDefault(BlockNodes.NameOf(index)) : null;
        var path = node?.File ?? (source.Kind is DiskSourceKind.File or DiskSourceKind.Block ? source.Path : null);
        return new BackingImage(
            path is null ? null : ImageIdentity.Read(path),
            node?.Size,
            node?.Bitmaps ?? new Dictionary<string, BitmapHealth>(StringComparer.Ordinal));
    }

    private static async Task DescribeOfflineAsync(
        DiskDescription disk, List<MachineDisk> disks, List<UnprotectedDisk> left, CancellationToken cancellationToken)
    {
        try
        {
            disks.Add(await OfflineDisks.DescribeAsync(disk, cancellationToken));
        }
        catch (UnreadableImageException e)
        {
            left.Add(new UnprotectedDisk(disk.Target, e.Message));
        }
    }

    // As it starts next; a transient machine has only what runs.
    private static async Task<string> DefinitionAsync(Domain domain, DomainXmlFlags flags, CancellationToken cancellationToken) =>
        await domain.GetXmlAsync(
            flags | (await domain.IsPersistentAsync(cancellationToken) ? DomainXmlFlags.Inactive : DomainXmlFlags.None), cancellationToken);

    private static async Task<MachineDisk?> TryDescribeAsync(
        Domain domain, DiskDescription disk, BlockNode? node, CancellationToken cancellationToken)
    {
        long size;
        try
        {
            size = (await domain.GetBlockInfoAsync(disk.Target, cancellationToken)).Capacity;
        }
        catch (LibvirtException e) when (e is not LibvirtConnectionException)
        {
            return null;
        }

        var path = node?.File ?? (disk.Source.Kind is DiskSourceKind.File or DiskSourceKind.Block ? disk.Source.Path : null);
        return new MachineDisk
        {
            Name = disk.Target,
            Kind = disk.Source.Kind switch
            {
                DiskSourceKind.Block => "block",
                DiskSourceKind.Network => "network",
                _ => "file",
            },
            Format = disk.Format ?? "raw",
            Path = path ?? disk.Source.Path,
            Serial = disk.Serial,
            Size = size,
            Identity = path is null ? null : ImageIdentity.Read(path),
            DataFile = path is not null && node?.DataFile is { } data ? DataFile.Read(path, data) : null,
            Untrackable = DiskProtection.WhyUntracked(disk.Format, node?.Compat),
            Bitmaps = node?.Bitmaps ?? new Dictionary<string, BitmapHealth>(StringComparer.Ordinal),
        };
    }
}
