// SPDX-License-Identifier: Apache-2.0
// A backup that kills itself: worker MACHINE-UUID STEP GUARDIAN-COMMAND...
// At the step it sends itself SIGKILL, so that nothing is undone by it; with WORKER_TAKES_GUARDIAN=1 its guardian goes first.
// Everything else comes from the environment, as for tidemark.
using System.Runtime.InteropServices;
using Tidemark.Engine.Backup;
using Tidemark.Engine.Machines;
using Tidemark.Engine.Repositories;
using Tidemark.Engine.Runs;

var (machine, deadly) = (args[0], Enum.Parse<RunStep>(args[1]));
var access = new RepositoryAccess(null, Environment.GetEnvironmentVariable("TIDEMARK_KEY_FILE"));
await using var hypervisor = await Hypervisors.ConnectAsync(Environment.GetEnvironmentVariable("TIDEMARK_CONNECT"), CancellationToken.None);
await using var repository = await RepositorySession.OpenAsync(
    Environment.GetEnvironmentVariable("TIDEMARK_REPO")!, access, CancellationToken.None);
var folders = HostFolders.Default(Environment.GetEnvironmentVariable);
var context = new BackupContext
{
    Hypervisor = hypervisor,
    Repository = repository,
    Folders = folders,
    Guardians = new Guardians(args[2..], hypervisor.Connect, folders),
    Observer = happened =>
    {
        if (happened is StepReached { Step: var step } && step == deadly)
            Death.Come();
    },
};
await BackupRun.RunAsync(context, machine, new BackupOptions(), CancellationToken.None);
return 0;

internal static partial class Death
{
    private const int SigKill = 9;

    public static void Come()
    {
        if (Environment.GetEnvironmentVariable("WORKER_TAKES_GUARDIAN") == "1")
        {
            foreach (var child in Directory.EnumerateDirectories("/proc/self/task").SelectMany(Children))
                _ = Kill(child, SigKill);
        }

        _ = Kill(Environment.ProcessId, SigKill);
        Thread.Sleep(Timeout.Infinite);
    }

    // A thread may end while its folder is looked at; children are started by one that does not.
    private static IEnumerable<int> Children(string task)
    {
        try
        {
            return File.ReadAllText(Path.Combine(task, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse);
        }
        catch (IOException)
        {
            return [];
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
