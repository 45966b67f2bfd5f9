// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Tidemark.Storage;

/// <summary>Which process this is, and which others are gone. Looked at only to revoke one's own dead runs sooner: the tombstone
/// decides, so a wrong answer costs a run, never data.</summary>
internal abstract class ProcessTable
{
    /// <summary>The processes of this host.</summary>
    public static ProcessTable OfHost { get; } = new Linux();

    /// <summary>This process, or null where it can't be told.</summary>
    public abstract ProcessMark? Own { get; }

    /// <summary>Whether a process of this host has certainly ended.</summary>
    public abstract bool IsGone(ProcessMark process);

    private sealed class Linux : ProcessTable
    {
        private const long Unreadable = -1;
        private const int NoSuchProcess = 3; // ESRCH: it ended while it was read
        private const int StartField = 20; // of /proc/pid/stat, counted from the third field (state) as 1

        public override ProcessMark? Own { get; } = ReadOwn();

        public override bool IsGone(ProcessMark process)
        {
            if (Own is not { } own)
                return false;
            if (process.Boot != own.Boot)
                return true;
            // Where others' processes are hidden, not even the first one shows.
            return process.Space == own.Space && StartOf(1) is not null && StartOf(process.Pid) is var started
                && started != process.Started && started != Unreadable;
        }

        private static ProcessMark? ReadOwn()
        {
            try
            {
                var boot = File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();
                var space = File.ResolveLinkTarget("/proc/self/ns/pid", returnFinalTarget: false)?.Name;
                return space is not null && StartOf(Environment.ProcessId) is { } started
                    ? new ProcessMark(boot, space, Environment.ProcessId, started)
                    : null;
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                return null;
            }
        }

        private static long? StartOf(int pid)
        {
            try
            {
                // The name, in brackets, may hold anything; what follows its last bracket is numbers.
                var stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/stat"));
                var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
                return long.Parse(fields[StartField - 1], CultureInfo.InvariantCulture);
            }
            catch (Exception gone) when (gone is FileNotFoundException or DirectoryNotFoundException || gone.HResult == NoSuchProcess)
            {
                return null; // there is none, or it ended while it was read
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                return Unreadable; // no open files left, or no right to look: says nothing of that process
            }
        }
    }
}
