// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Runs;

/// <summary>
/// The guardian's own process. It outlives the worker: when the pipe ends without <see cref="GuardianSignal.Done"/> it takes
/// the machine's lock, thaws the guest, puts the tombstone, ends the job and removes what is left. A freeze that lasts too
/// long under a living worker is thawed too: a guest is never held for longer than <see cref="LongestFreeze"/>.
/// </summary>
public sealed class Guardian
{
    /// <summary>The longest a guest may be held, whatever the worker does: its own limits are 30 s each for freeze and begin.</summary>
    private static readonly TimeSpan LongestFreeze = TimeSpan.FromSeconds(70);

    /// <summary>QEMU drops a client that does not negotiate after 10 s; ending the job before that could hang it for good.</summary>
    private static readonly TimeSpan NegotiationLimit = TimeSpan.FromSeconds(11);

    private static readonly TimeSpan KeepTrying = TimeSpan.FromMinutes(30);
    private static readonly TimeSpan ThawInterval = TimeSpan.FromSeconds(3);

    private readonly HostFolders _folders;
    private readonly Journal _journal;
    private readonly Guid _run;
    private readonly string _machine;
    private readonly Func<string?, CancellationToken, Task<IHypervisor>> _connect;
    private bool _mayBeFrozen;
    private bool _connecting;
    private bool _done;

    private Guardian(HostFolders folders, string watched, Func<string?, CancellationToken, Task<IHypervisor>> connect)
    {
        _folders = folders;
        _journal = new Journal(folders);
        _run = Guid.ParseExact(watched.AsSpan(0, 32), "n");
        _machine = watched[33..];
        _connect = connect;
    }

    /// <summary>What a guardian is told first: the run and its machine. The rest is in the journal, which is read when there is something
    /// to mend.</summary>
    internal static string Watched(JournalEntry entry) => $"{entry.Run:n} {entry.MachineUuid}";

    /// <summary>
    /// Waits to be told a run, then runs until the worker is done or its leftovers are gone. Signals that end a worker do not end it. A
    /// worker that dies before it tells has touched nothing.
    /// </summary>
    /// <param name="connection">The hypervisor, as the run's journal entry will name it.</param>
    /// <param name="folders">Where journal and locks are.</param>
    /// <param name="fromWorker">The worker's signals, a word a line.</param>
    /// <param name="toWorker">Told when the guardian is ready.</param>
    /// <param name="connect">Opens the hypervisor of the entry.</param>
    public static async Task RunAsync(
        string? connection,
        HostFolders folders,
        TextReader fromWorker,
        TextWriter toWorker,
        Func<string?, CancellationToken, Task<IHypervisor>> connect)
    {
        using var interrupt = Ignore(PosixSignal.SIGINT);
        using var hangup = Ignore(PosixSignal.SIGHUP);
        using var terminate = Ignore(PosixSignal.SIGTERM);
        using var quit = Ignore(PosixSignal.SIGQUIT);
        if (await WatchedAsync(connection, folders, fromWorker, toWorker, connect) is { } guardian)
            await guardian.FinishAsync();
    }

    // Null when there was nothing to watch. The connection ends with the watching: clean-up may take long and opens its own.
    private static async Task<Guardian?> WatchedAsync(
        string? connection,
        HostFolders folders,
        TextReader fromWorker,
        TextWriter toWorker,
        Func<string?, CancellationToken, Task<IHypervisor>> connect)
    {
        await using var hypervisor = await connect(connection, CancellationToken.None);
        if (await fromWorker.ReadLineAsync() is not { } watched)
            return null;
        var guardian = new Guardian(folders, watched, connect);
        var journalFile = guardian._journal.FileOf(guardian._run);
        if (!File.Exists(journalFile))
            throw EngineException.Failed($"There is no journal entry '{journalFile}' to guard.");
        await toWorker.WriteLineAsync(nameof(GuardianSignal.Ready));
        await toWorker.FlushAsync();
        await guardian.WatchAsync(fromWorker, hypervisor);
        return guardian;
    }

    private async Task WatchAsync(TextReader fromWorker, IHypervisor hypervisor)
    {
        var overdue = Task.Delay(Timeout.InfiniteTimeSpan);
        var line = fromWorker.ReadLineAsync();
        while (true)
        {
            if (await Task.WhenAny(line, overdue) == overdue)
            {
                _mayBeFrozen = !await hypervisor.ThawAsync(_machine, ThawInterval, CancellationToken.None);
                overdue = Task.Delay(_mayBeFrozen ? ThawInterval : Timeout.InfiniteTimeSpan);
                continue;
            }

            // A word cut short is a death in the middle of it.
            if (!Enum.TryParse<GuardianSignal>(await line, out var word))
                return;
            var wasFrozen = _mayBeFrozen;
            Hear(word);
            // The time runs from the freeze, whatever else is told meanwhile.
            if (_mayBeFrozen != wasFrozen)
                overdue = Task.Delay(_mayBeFrozen ? LongestFreeze : Timeout.InfiniteTimeSpan);
            line = fromWorker.ReadLineAsync();
        }
    }

    private void Hear(GuardianSignal signal)
    {
        _mayBeFrozen = signal switch
        {
            GuardianSignal.MayBeFrozen => true,
            GuardianSignal.Thawed => false,
            _ => _mayBeFrozen,
        };
        _connecting = signal == GuardianSignal.Connecting;
        _done |= signal == GuardianSignal.Done;
    }

    // The worker is dead or done. Another run may start at any moment, so all that follows is under the machine's lock.
    private async Task FinishAsync()
    {
        var died = DateTimeOffset.UtcNow;
        var patience = KeepTrying;
        for (var started = DateTimeOffset.UtcNow; DateTimeOffset.UtcNow - started < patience;)
        {
            if (await TryFinishAsync(died))
                return;
            await Task.Delay(ThawInterval);
        }
    }

    // True when nothing is left to do.
    private async Task<bool> TryFinishAsync(DateTimeOffset died)
    {
        try
        {
            if (await _journal.ReadAsync(_run, CancellationToken.None) is null)
                return true;
            using var machineLock = await MachineLock.TryTakeAsync(
                _folders, _machine, TimeSpan.Zero, CancellationToken.None);
            if (machineLock is null)
                return false;
            if (await _journal.ReadAsync(_run, CancellationToken.None) is not { } entry)
                return true;
            await using var hypervisor = await _connect(entry.Connect, CancellationToken.None);
            var recovery = new Recovery(hypervisor, _journal);
            var wait = _connecting && !_done ? died + NegotiationLimit - DateTimeOffset.UtcNow : TimeSpan.Zero;
            return await recovery.CleanAsync(entry, wait > TimeSpan.Zero ? wait : TimeSpan.Zero, CancellationToken.None);
        }
        catch (Exception)
        {
            // Whatever it was (libvirt restarts, a disk is full): the guest may still need us, and nobody else is left.
            return false;
        }
    }

    private static PosixSignalRegistration Ignore(PosixSignal signal) =>
        PosixSignalRegistration.Create(signal, context => context.Cancel = true);
}
