// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Checkpoints;

/// <summary>How to import.</summary>
/// <param name="OtherMachine">Take records of a machine with another UUID.</param>
/// <param name="OnlyUsable">Leave out checkpoints whose bitmaps are missing or broken, instead of refusing all.</param>
public sealed record ImportOptions(bool OtherMachine, bool OnlyUsable);

/// <summary>What an import did; names of checkpoints.</summary>
public sealed record ImportResult(
    string Machine, IReadOnlyList<string> Added, IReadOnlyList<string> Replaced, IReadOnlyList<string> Unchanged,
    IReadOnlyList<string> LeftOut);

/// <summary>
/// Tells a hypervisor of the checkpoints in a document: all of them or, when one is refused, none. The bitmaps must be there already.
/// What a death in the middle leaves is completed by importing again. The caller holds the machine's lock.
/// </summary>
public sealed class CheckpointImport
{
    private readonly IHypervisor _hypervisor;
    private readonly string _machineUuid;
    private readonly Dictionary<string, CheckpointRecord> _before;
    private readonly Stack<CheckpointRecord> _done = new();

    private CheckpointImport(IHypervisor hypervisor, BitmapFacts facts)
    {
        _hypervisor = hypervisor;
        _machineUuid = facts.Machine.Uuid;
        _before = facts.Checkpoints.ToDictionary(record => record.Name, StringComparer.Ordinal);
    }

    /// <exception cref="EngineException">Something is wrong with the document, or does not fit the machine; nothing was
    /// changed.</exception>
    public static async Task<ImportResult> RunAsync(
        IHypervisor hypervisor, BitmapFacts facts, CheckpointDocument document, ImportOptions options, CancellationToken cancellationToken)
    {
        var import = new CheckpointImport(hypervisor, facts);
        var (wanted, leftOut) = Plan(facts, document, options);
        var (unchanged, others) = (new List<string>(), new List<CheckpointRecord>());
        foreach (var record in wanted)
        {
            if (import._before.TryGetValue(record.Name, out var known) && IsSame(known, record))
                unchanged.Add(record.Name);
            else
                others.Add(record);
        }

        await import.DefineAsync(others, cancellationToken);
        return new ImportResult(
            facts.Machine.Name,
            others.Select(record => record.Name).Where(name => !import._before.ContainsKey(name)).ToList(),
            others.Select(record => record.Name).Where(import._before.ContainsKey).ToList(),
            unchanged,
            leftOut);
    }

    /// <summary>What would be told, parents first, and what would be left out. Pure.</summary>
    /// <exception cref="EngineException">The document does not fit the machine.</exception>
    public static (IReadOnlyList<CheckpointRecord> Wanted, IReadOnlyList<string> LeftOut) Plan(
        BitmapFacts facts, CheckpointDocument document, ImportOptions options)
    {
        var machine = facts.Machine;
        if (document.MachineUuid != machine.Uuid && !options.OtherMachine)
        {
            throw EngineException.Usage(
                $"The records are of machine '{document.Machine}' with UUID '{document.MachineUuid}'; '{machine.Name}' has UUID "
                    + $"'{machine.Uuid}'.",
                "--other-machine takes them all the same");
        }

        if (facts.Unseen.Count > 0)
            throw EngineException.Failed($"The bitmaps of '{machine.Name}' are not known: {facts.Unseen[0]}");
        var ofDocument = document.Checkpoints.Select(record => record.Name).ToHashSet(StringComparer.Ordinal);
        var others = CheckpointTree.Mend(facts.Checkpoints).Records.Where(record => !ofDocument.Contains(record.Name));
        var tree = CheckpointTree.FindProblem([.. others, .. document.Checkpoints]) is { } problem
            ? throw EngineException.Usage(problem)
            : CheckpointTree.Of([.. others, .. document.Checkpoints]);
        var leftOut = new List<string>();
        foreach (var record in document.Checkpoints)
        {
            if (WhyUnusable(machine, record) is not { } reason)
                continue;
            if (!options.OnlyUsable)
                throw EngineException.Failed(reason, "--only-usable imports the others");
            leftOut.Add(record.Name);
            tree = tree.Without(record.Name);
        }

        return (tree.Records.Where(record => ofDocument.Contains(record.Name)).ToList(), leftOut);
    }

    private static string? WhyUnusable(Machine machine, CheckpointRecord record)
    {
        foreach (var disk in record.Disks)
        {
            if (machine.Disks.FirstOrDefault(candidate => candidate.Name == disk.Name) is not { } found)
                return $"Checkpoint '{record.Name}' covers disk '{disk.Name}', which machine '{machine.Name}' does not have.";
            if (!found.Bitmaps.TryGetValue(record.Name, out var health))
                return $"Checkpoint '{record.Name}' has no bitmap on disk '{disk.Name}' of '{machine.Name}'.";
            if (health != BitmapHealth.Recording)
            {
                var state = health == BitmapHealth.Busy ? "in use by a job" : "inconsistent";
                return $"The bitmap of checkpoint '{record.Name}' on disk '{disk.Name}' of '{machine.Name}' is {state}.";
            }
        }

        return null;
    }

    private static bool IsSame(CheckpointRecord one, CheckpointRecord other) =>
        one.Parent == other.Parent && one.Created.ToUnixTimeSeconds() == other.Created.ToUnixTimeSeconds()
        && one.Disks.Select(disk => disk.Name).ToHashSet(StringComparer.Ordinal).SetEquals(other.Disks.Select(disk => disk.Name));

    private async Task DefineAsync(IReadOnlyList<CheckpointRecord> records, CancellationToken cancellationToken)
    {
        try
        {
            foreach (var record in records)
            {
                _done.Push(record); // Before it is told: of a call that fails nobody knows whether it took effect.
                await _hypervisor.RedefineCheckpointAsync(_machineUuid, record, cancellationToken);
            }
        }
        catch (Exception e)
        {
            await UndoAsync();
            if (e is OperationCanceledException)
                throw;
            throw EngineException.Failed($"Nothing was imported: {Failures.Translate(e is CheckpointUnusableException
                ? EngineException.Failed(e.Message, inner: e) : e).Message}", inner: e);
        }
    }

    // Children first. A record that was replaced is told again as it was; its parent, which came before it, is there.
    private async Task UndoAsync()
    {
        var replaced = new List<CheckpointRecord>();
        while (_done.TryPop(out var record))
        {
            if (_before.TryGetValue(record.Name, out var old))
                replaced.Add(old);
            else
                await _hypervisor.ForgetCheckpointAsync(_machineUuid, record.Name, CancellationToken.None);
        }

        foreach (var old in replaced)
            await _hypervisor.RedefineCheckpointAsync(_machineUuid, old, CancellationToken.None);
    }
}
