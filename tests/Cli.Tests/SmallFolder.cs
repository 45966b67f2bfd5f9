// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;

namespace Tidemark.Cli.Tests;

/// <summary>A file system in memory of a few MiB; null where none can be mounted.</summary>
internal sealed class SmallFolder : IAsyncDisposable
{
    private SmallFolder(string path) => Path = path;

    public string Path { get; }

    public static async Task<SmallFolder?> TryMountAsync(string path, int mebibytes)
    {
        Directory.CreateDirectory(path);
        var size = mebibytes.ToString(CultureInfo.InvariantCulture);
        return Environment.IsPrivilegedProcess && await RunAsync("mount", "-t", "tmpfs", "-o", $"size={size}m", "none", path)
            ? new SmallFolder(path)
            : null;
    }

    public async ValueTask DisposeAsync() => await RunAsync("umount", "--lazy", Path);

    private static async Task<bool> RunAsync(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        await process.WaitForExitAsync(CancellationToken.None);
        return process.ExitCode == 0;
    }
}
