// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Engine.Tests;

/// <summary>A block device over a file; null where none can be made. Disposing detaches it.</summary>
internal sealed class LoopDevice : IAsyncDisposable
{
    private LoopDevice(string path) => Path = path;

    public string Path { get; }

    public static async Task<LoopDevice?> TryCreateAsync(string file, long size)
    {
        await using (var stream = File.Create(file))
            stream.SetLength(size);
        return await RunAsync("--find", "--show", file) is { Length: > 0 } path ? new LoopDevice(path) : null;
    }

    public async ValueTask DisposeAsync() => await RunAsync("--detach", Path);

    private static async Task<string?> RunAsync(params string[] arguments)
    {
        var program = (string[])["/usr/sbin/losetup", "/sbin/losetup"];
        if (program.FirstOrDefault(File.Exists) is not { } losetup)
            return null;
        using var process = Process.Start(new ProcessStartInfo(losetup, arguments)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var output = await process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        await process.WaitForExitAsync(CancellationToken.None);
        return process.ExitCode == 0 ? output.Trim() : null;
    }
}
