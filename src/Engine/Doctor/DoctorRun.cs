// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Engine.Doctor.Checks;
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;

namespace Tidemark.Engine.Doctor;

/// <summary>What to look at.</summary>
public sealed record DoctorRequest
{
    /// <summary>Hypervisor; null is libvirt's default.</summary>
    public required string? Connect { get; init; }

    /// <summary>Name or UUID; null for every machine.</summary>
    public required string? Machine { get; init; }

    public required HostFolders Folders { get; init; }

    /// <summary>Program and arguments that start a guardian.</summary>
    public required IReadOnlyList<string> GuardianCommand { get; init; }

    /// <summary>Opens the repository; null when none is named.</summary>
    public required Func<CancellationToken, Task<RepositorySession>>? OpenRepository { get; init; }

    /// <summary>How a machine would be backed up.</summary>
    public required Func<Machine, BackupOptions> OptionsOf { get; init; }

    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>
/// Looks at everything that a backup needs, and changes nothing: adapters read facts, the checks judge them. What is stuck is waited
/// for only so long, and what could not be looked at is said.
/// </summary>
public sealed class DoctorRun
{
    private static readonly TimeSpan HypervisorLimit = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan MachineLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan RepositoryLimit = TimeSpan.FromSeconds(60);

    private readonly DoctorRequest _request;
    private readonly List<Finding> _findings = [];

    private DoctorRun(DoctorRequest request) => _request = request;

    /// <summary>The findings: hypervisor, host, repository, then machine by machine.</summary>
    /// <exception cref="EngineException">The machine that was named is not known to the hypervisor.</exception>
    public static async Task<IReadOnlyList<Finding>> RunAsync(DoctorRequest request, CancellationToken cancellationToken)
    {
        var run = new DoctorRun(request);
        var opened = await Bounded.AskAsync(
            token => Hypervisors.ExamineAsync(request.Connect, token), HypervisorLimit, cancellationToken);
        if (opened.Failure is { } failure)
            run._findings.Add(Finding.Problem("hypervisor", failure, opened.Hint));
        var repository = request.OpenRepository is { } open
            ? await Bounded.AskAsync(open, RepositoryLimit, cancellationToken)
            : null;
        try
        {
            await run.LookAsync(opened.Value, repository, cancellationToken);
            return run._findings;
        }
        finally
        {
            if (repository?.Value is { } session)
                await session.DisposeAsync();
            if (opened.Value is { } examiner)
                await Task.WhenAny(examiner.DisposeAsync().AsTask(), Task.Delay(HypervisorLimit, CancellationToken.None));
        }
    }

    private async Task LookAsync(IExaminer? examiner, Answer<RepositorySession>? repository, CancellationToken cancellationToken)
    {
        var hypervisor = await ReadHypervisorAsync(examiner, cancellationToken);
        var names = hypervisor is null ? [] : await FindMachinesAsync(examiner!, cancellationToken);
        var machines = await ReadMachinesAsync(examiner!, names, cancellationToken);
        var host = await ReadHostAsync(hypervisor, machines, cancellationToken);
        _findings.AddRange(HostChecks.Judge(host, hypervisor));
        var worst = machines.MaxBy(machine => machine.AllocatedBytes);
        _findings.AddRange(ScratchChecks.Judge(host.Scratch, worst is null ? null : (worst.Machine.Name, worst.AllocatedBytes)));
        _findings.AddRange(LeftoverChecks.Judge(host.Leftovers, _request.Machine is null ? null : names[0].Uuid));
        var stored = await ReadRepositoryAsync(repository, cancellationToken);
        foreach (var name in names)
        {
            if (stored is { Failure: null })
                _findings.Add(RepositoryChecks.JudgeAge(stored, name));
            if (machines.Find(machine => machine.Machine.Uuid == name.Uuid) is not { } facts)
                continue;
            _findings.AddRange(MachineChecks.Judge(facts, host.Leftovers, _request.Folders.Scratch));
            _findings.AddRange(DiskChecks.Judge(facts));
            _findings.AddRange(BitmapChecks.Judge(facts, repository?.Value?.Part));
            if (stored is { Failure: null } && facts.Machine.State != MachineState.Off)
                await PlanAsync(facts.Machine, repository!.Value!, cancellationToken);
        }
    }

    private async Task<HypervisorFacts?> ReadHypervisorAsync(IExaminer? examiner, CancellationToken cancellationToken)
    {
        if (examiner is null)
            return null;
        var answer = await Bounded.AskAsync(examiner.ReadHypervisorAsync, HypervisorLimit, cancellationToken);
        if (answer.Value is { } facts)
            _findings.AddRange(HypervisorChecks.Judge(facts));
        else
            _findings.Add(Finding.Problem("hypervisor", answer.Failure!, answer.Hint));
        return answer.Value;
    }

    private async Task<IReadOnlyList<MachineName>> FindMachinesAsync(IExaminer examiner, CancellationToken cancellationToken)
    {
        var answer = await Bounded.AskAsync(examiner.ListMachinesAsync, HypervisorLimit, cancellationToken);
        if (answer.Value is not { } all)
        {
            _findings.Add(Finding.Problem("hypervisor", answer.Failure!, answer.Hint));
            return [];
        }

        if (_request.Machine is not { } wanted)
            return all;
        var found = all.FirstOrDefault(machine => machine.Uuid.Equals(wanted, StringComparison.OrdinalIgnoreCase))
            ?? all.FirstOrDefault(machine => machine.Name == wanted);
        return found is null ? throw EngineException.Usage($"The hypervisor knows no machine '{wanted}'.", "tidemark machines") : [found];
    }

    // All at once: a stuck machine must not make the others wait.
    private async Task<List<MachineFacts>> ReadMachinesAsync(
        IExaminer examiner, IReadOnlyList<MachineName> names, CancellationToken cancellationToken)
    {
        var answers = await Task.WhenAll(names.Select(name => Bounded.AskAsync(
            token => examiner.ReadMachineAsync(name.Uuid, token), MachineLimit, cancellationToken)));
        foreach (var (name, answer) in names.Zip(answers).Where(pair => pair.Second.Value is null))
        {
            _findings.Add(Finding.Problem(
                $"machine '{name.Name}'", $"It could not be looked at: {answer.Failure} A job of libvirt, or its QEMU, may be stuck.",
                answer.Hint ?? $"virsh domjobinfo {name.Name}"));
        }

        return answers.Select(answer => answer.Value).OfType<MachineFacts>().ToList();
    }

    private async Task<HostFacts> ReadHostAsync(
        HypervisorFacts? hypervisor, List<MachineFacts> machines, CancellationToken cancellationToken)
    {
        var guardian = hypervisor is null
            ? null
            : await GuardianProcess.WhyNotAsync(_request.GuardianCommand, _request.Connect, _request.Folders, cancellationToken);
        var owner = machines.Select(machine => machine.QemuOwner).FirstOrDefault(found => found is not null) ?? hypervisor?.QemuOwner;
        return await new HostReader(_request.Folders).ReadAsync(hypervisor, owner, guardian, cancellationToken);
    }

    private async Task<RepositoryFacts?> ReadRepositoryAsync(Answer<RepositorySession>? repository, CancellationToken cancellationToken)
    {
        if (repository is null)
        {
            _findings.Add(Finding.Note("repository", "None is named, so none was looked at.", "tidemark doctor --repo FOLDER"));
            return null;
        }

        var facts = new RepositoryFacts { Failure = repository.Failure, Hint = repository.Hint };
        if (repository.Value is { } session)
        {
            var answer = await Bounded.AskAsync(
                token => RepositoryReader.ReadAsync(session, _request.Clock, token), RepositoryLimit, cancellationToken);
            facts = answer.Value ?? new RepositoryFacts { Failure = answer.Failure, Hint = answer.Hint };
        }

        _findings.AddRange(RepositoryChecks.Judge(facts));
        return facts;
    }

    private async Task PlanAsync(Machine machine, RepositorySession repository, CancellationToken cancellationToken)
    {
        var answer = await Bounded.AskAsync(
            async token =>
            {
                await using var hypervisor = await Hypervisors.ConnectAsync(_request.Connect, token);
                return await BackupRun.PlanAsync(hypervisor, repository, machine, _request.OptionsOf(machine), token);
            },
            MachineLimit,
            cancellationToken);
        if (answer.Value is { } plan)
            _findings.AddRange(PlanChecks.Judge(machine, plan));
        else
            _findings.Add(Finding.Problem($"machine '{machine.Name}'", answer.Failure!, answer.Hint));
    }
}
