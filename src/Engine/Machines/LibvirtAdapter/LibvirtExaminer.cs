// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;
using Tidemark.Engine.Doctor;
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Libvirt;
using Tidemark.Libvirt.Xml;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>Looks at machines of a libvirt daemon on this host. Owns the hypervisor that it is given.</summary>
internal sealed class LibvirtExaminer : IExaminer
{
    private const string FreezeStatus = """{"execute":"guest-fsfreeze-status"}""";
    private static readonly AgentTimeout AgentLimit = new(5);

    private readonly LibvirtConnection _connection;
    private readonly IHypervisor _hypervisor;

    private LibvirtExaminer(LibvirtConnection connection, IHypervisor hypervisor) => (_connection, _hypervisor) = (connection, hypervisor);

    public static Task<IExaminer> OpenAsync(string? connect, IHypervisor hypervisor, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync<IExaminer>(async () => new LibvirtExaminer(
            await LibvirtConnection.OpenAsync(connect, cancellationToken: cancellationToken), hypervisor));

    public Task<HypervisorFacts> ReadHypervisorAsync(CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
        {
            var capabilities = CapabilitiesDescription.Parse(await _connection.GetCapabilitiesAsync(cancellationToken));
            var qemu = await _connection.GetHypervisorVersionAsync(cancellationToken);
            return new HypervisorFacts
            {
                Uri = _connection.Uri,
                LibvirtVersion = await _connection.GetLibraryVersionAsync(cancellationToken),
                QemuVersion = qemu.Major > 0 ? qemu : null,
                SupportsBackup = CapabilitiesDescription.ReadBackupSupport(
                    await _connection.GetDomainCapabilitiesAsync(cancellationToken: cancellationToken)),
                SecurityModels = capabilities.SecurityModels,
                QemuOwner = capabilities.QemuOwner,
            };
        });

    public Task<IReadOnlyList<MachineName>> ListMachinesAsync(CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync<IReadOnlyList<MachineName>>(async () =>
            (await _connection.ListDomainsAsync(cancellationToken))
            .Select(domain => new MachineName(domain.Name, domain.Uuid.ToString("d"))).ToList());

    public Task<MachineFacts> ReadMachineAsync(string machineUuid, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
        {
            var bitmaps = await ReadBitmapsAsync(machineUuid, cancellationToken);
            var machine = bitmaps.Machine;
            var unseen = bitmaps.Unseen.ToList();
            var domain = await _connection.GetDomainAsync(Guid.Parse(machineUuid), cancellationToken);
            var description = DomainDescription.Parse(await domain.GetXmlAsync(cancellationToken: cancellationToken));
            var status = await domain.GetStatusAsync(cancellationToken);
            var (agent, isFrozen) = await AskAgentAsync(domain, machine, description, cancellationToken);
            return new MachineFacts
            {
                Machine = machine,
                Agent = agent,
                IsFrozen = isFrozen,
                IsIoErrorPause = status.IsIoErrorPause,
                Checkpoints = bitmaps.Checkpoints,
                Job = status.IsActive ? await ReadJobAsync(domain, cancellationToken) : null,
                AllocatedBytes = await SumAllocatedAsync(domain, machine, unseen, cancellationToken),
                QemuOwner = description.Owner is { } label ? ((uint)label.UserId, (uint)label.GroupId)
                    : HostProcesses.OwnerOfQemu(machineUuid),
                Unseen = unseen,
            };
        });

    public Task<BitmapFacts> ReadBitmapsAsync(string machineUuid, CancellationToken cancellationToken) =>
        LibvirtFailures.TranslateAsync(async () =>
        {
            var machine = await _hypervisor.FindAsync(machineUuid, cancellationToken)
                ?? throw EngineException.Failed($"Machine '{machineUuid}' is gone.");
            var unseen = new List<string>();
            var changed = machine.State == MachineState.Off
                ? new Dictionary<(string Disk, string Bitmap), long>()
                : await ReadChangedAsync(
                    await _connection.GetDomainAsync(Guid.Parse(machineUuid), cancellationToken), unseen, cancellationToken);
            if (machine.State == MachineState.Off)
                machine = await OfflineBitmaps.ReadAsync(machine, unseen, cancellationToken);
            return new BitmapFacts
            {
                Machine = machine,
                Checkpoints = await _hypervisor.CheckpointsAsync(machineUuid, cancellationToken),
                ChangedBytes = changed,
                Unseen = unseen,
            };
        });

    public async ValueTask DisposeAsync()
    {
        await _connection.DisposeAsync();
        await _hypervisor.DisposeAsync();
    }

    // One question that a frozen guest answers too. A refusal is an answer: only silence is none.
    private static async Task<(AgentState State, bool IsFrozen)> AskAgentAsync(
        Domain domain, Machine machine, DomainDescription description, CancellationToken cancellationToken)
    {
        if (!description.HasAgentChannel)
            return (AgentState.NotConfigured, false);
        if (machine.State != MachineState.Running)
            return (AgentState.NotAsked, false);
        if (!machine.AgentConnected)
            return (AgentState.NotConnected, false);
        try
        {
            using var answer = JsonDocument.Parse(await domain.AgentCommandAsync(FreezeStatus, AgentLimit, cancellationToken));
            var isFrozen = answer.RootElement.TryGetProperty("return", out var status) && status.ValueKind == JsonValueKind.String
                && status.GetString() == "frozen";
            return (AgentState.Answers, isFrozen);
        }
        catch (Exception e) when (e is AgentUnresponsiveException or LibvirtBusyException)
        {
            return (AgentState.Silent, false);
        }
        catch (LibvirtException e) when (e is not LibvirtConnectionException)
        {
            return (AgentState.Answers, false);
        }
    }

    private static async Task<Dictionary<(string Disk, string Bitmap), long>> ReadChangedAsync(
        Domain domain, List<string> unseen, CancellationToken cancellationToken)
    {
        var description = DomainDescription.Parse(await domain.GetXmlAsync(cancellationToken: cancellationToken));
        if (await BlockQuery.TryAskAsync(domain, BlockNodes.Query, cancellationToken) is not { } answer)
        {
            unseen.Add("QEMU's list of its bitmaps is longer than libvirt passes on (4 MiB).");
            return [];
        }

        var counts = BitmapCounts.Parse(answer);
        return description.Disks.Where(disk => disk.Alias is not null && counts.ContainsKey(disk.Alias))
            .SelectMany(disk => counts[disk.Alias!].Select(count => (Key: (disk.Target, count.Key), count.Value)))
            .ToDictionary(pair => pair.Key, pair => pair.Value);
    }

    private static async Task<JobFacts?> ReadJobAsync(Domain domain, CancellationToken cancellationToken)
    {
        var job = await domain.GetJobStatsAsync(cancellationToken: cancellationToken);
        if (!job.IsActive)
            return null;
        return new JobFacts(
            job.Operation.ToString().ToLowerInvariant(),
            job.Elapsed,
            job.Operation == JobOperation.Backup ? await ReadSocketAsync(domain, cancellationToken) : null);
    }

    private static async Task<string?> ReadSocketAsync(Domain domain, CancellationToken cancellationToken)
    {
        try
        {
            return BackupXml.Read(await domain.GetBackupXmlAsync(cancellationToken)).SocketPath;
        }
        catch (LibvirtException e) when (e is not LibvirtConnectionException)
        {
            return null; // It ended since.
        }
    }

    private static async Task<long> SumAllocatedAsync(
        Domain domain, Machine machine, List<string> unseen, CancellationToken cancellationToken)
    {
        long sum = 0;
        foreach (var disk in machine.Disks)
        {
            try
            {
                sum += Math.Min((await domain.GetBlockInfoAsync(disk.Name, cancellationToken)).Allocation, disk.Size);
            }
            catch (LibvirtException e) when (e is not LibvirtConnectionException)
            {
                unseen.Add($"How much of disk '{disk.Name}' is allocated was not found out: {e.LibvirtMessage}.");
            }
        }

        return sum;
    }
}
