// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Storage.Tests;

/// <summary>
/// An ext4 on a disk whose reads fail with EIO while <see cref="Fails"/>: nbdkit's error filter behind FUSE and a loop device. What the
/// kernel holds in memory is still read; <see cref="DropCachesAsync"/> takes that away.
/// </summary>
internal sealed class FailingDisk : IAsyncDisposable
{
    private readonly string _folder;
    private readonly List<Process> _servers = [];

    private FailingDisk(string folder) => _folder = folder;

    /// <summary>Where it is mounted.</summary>
    public string Path => System.IO.Path.Combine(_folder, "mounted");

    public bool Fails
    {
        set
        {
            if (value)
                File.WriteAllBytes(Trigger, []);
            else
                File.Delete(Trigger);
        }
    }

    private string Trigger => System.IO.Path.Combine(_folder, "fail");

    private string Socket => System.IO.Path.Combine(_folder, "socket");

    private string Fuse => System.IO.Path.Combine(_folder, "fuse");

    private string Device => System.IO.Path.Combine(Fuse, "disk");

    /// <summary>Makes one in an empty folder; null where the kernel or the rights for it are missing.</summary>
    /// <param name="folder">An empty folder.</param>
    /// <param name="rate">Of the reads that fail.</param>
    public static async Task<FailingDisk?> TryMountAsync(string folder, string rate)
    {
        if (!Environment.IsPrivilegedProcess || !File.Exists("/dev/fuse") || !File.Exists("/dev/loop-control"))
            return null;
        var disk = new FailingDisk(folder);
        var image = System.IO.Path.Combine(folder, "image");
        Directory.CreateDirectory(disk.Fuse);
        Directory.CreateDirectory(disk.Path);
        await RunAsync("truncate", "-s", "64M", image);
        await RunAsync("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image);
        disk.Serve(
            "nbdkit", "-f", "-U", disk.Socket, "--filter=error", "file", image, "error-pread=EIO", $"error-pread-rate={rate}",
            $"error-file={disk.Trigger}");
        await disk.WaitAsync(disk.Socket);
        disk.Serve("nbdfuse", disk.Device, $"nbd+unix:///?socket={disk.Socket}");
        await disk.WaitAsync(disk.Device);
        if (await disk.MountAsync())
            return disk;
        await disk.DisposeAsync();
        return null;
    }

    /// <summary>Makes every later read come from the disk. Nothing may be open there.</summary>
    public async Task DropCachesAsync()
    {
        Assert.True(await RunAsync("umount", Path));
        Assert.True(await RunAsync("dd", $"if={Device}", "iflag=nocache", "count=0", "status=none"));
        Assert.True(await MountAsync());
    }

    public async ValueTask DisposeAsync()
    {
        Fails = false;
        await RunAsync("umount", Path);
        await RunAsync("umount", Fuse);
        foreach (var server in Enumerable.Reverse(_servers))
        {
            if (!server.HasExited)
                server.Kill();
            await server.WaitForExitAsync(CancellationToken.None);
            server.Dispose();
        }
    }

    private Task<bool> MountAsync() => RunAsync("mount", "-o", "loop,errors=continue,noatime", Device, Path);

    private void Serve(string program, params string[] arguments) => _servers.Add(Start(program, arguments));

    private async Task WaitAsync(string path)
    {
        for (var tries = 0; !File.Exists(path); tries++)
        {
            Assert.True(tries < 600 && !_servers[^1].HasExited, $"'{path}' did not appear.");
            await Task.Delay(50, Fixture.Token);
        }
    }

    private static Process Start(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            UseShellExecute = false,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        var process = Process.Start(start)!;
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        return process;
    }

    private static async Task<bool> RunAsync(string program, params string[] arguments)
    {
        using var process = Start(program, arguments);
        await process.WaitForExitAsync(CancellationToken.None);
        return process.ExitCode == 0;
    }
}
