// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Lab;

/// <summary>
/// Owns the end of a lab host: a shell that waits for the end of its standard input, then ends the host's daemon and QEMUs and removes
/// its folder. The input ends when the host is disposed, and also when this process dies in any way.
/// </summary>
internal sealed class Reaper : IAsyncDisposable
{
    // The random folder name in a command line marks a process as this host's.
    private const string Script = """
        exec >/dev/null 2>&1
        trap '' HUP INT TERM
        read -r _
        ours() {
            for file in $(grep -lsF "$LAB_ROOT/" /proc/[0-9]*/cmdline); do
                pid=${file#/proc/}; pid=${pid%/cmdline}
                read -r name < "/proc/$pid/comm" || continue
                case "$1:$name" in *:libvirtd|all:qemu-*|all:swtpm*) echo "$pid" ;; esac
            done
        }
        for pid in $(ours daemon); do kill -TERM "$pid"; done
        for attempt in 1 2 3 4 5 6 7 8 9 10; do [ -z "$(ours daemon)" ] && break; sleep 0.1; done
        for pid in $(ours all); do kill -KILL "$pid"; done
        for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$LAB_ROOT" && break; sleep 0.2; done
        """;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Process _process;

    private Reaper(Process process) => _process = process;

    internal static Reaper Start(string root)
    {
        // A session of its own: Ctrl-C in the terminal reaches the owner only.
        var start = new ProcessStartInfo("setsid", ["sh", "-c", Script])
        {
            RedirectStandardInput = true,
            UseShellExecute = false,
            WorkingDirectory = "/",
        };
        start.Environment["LAB_ROOT"] = root;
        return new Reaper(Process.Start(start)!);
    }

    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(Patience);
        using (_process)
        {
            _process.StandardInput.Close();
            await _process.WaitForExitAsync(limit.Token);
        }
    }
}
