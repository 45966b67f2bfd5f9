// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Cli.Tests;

/// <summary>A folder mounted read-only over itself; null where nothing can be mounted.</summary>
internal sealed class ReadOnlyFolder : IAsyncDisposable
{
    private readonly string _path;

    private ReadOnlyFolder(string path) => _path = path;

    public static async Task<ReadOnlyFolder?> TryMountAsync(string path) =>
        Environment.IsPrivilegedProcess && await RunAsync("mount", "--bind", path, path)
            && await RunAsync("mount", "-o", "remount,bind,ro", path)
            ? new ReadOnlyFolder(path)
            : null;

    public async ValueTask DisposeAsync() => await RunAsync("umount", "--lazy", _path);

    private static async Task<bool> RunAsync(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        await process.WaitForExitAsync(CancellationToken.None);
        return process.ExitCode == 0;
    }
}
