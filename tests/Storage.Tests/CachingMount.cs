// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Tidemark.Storage.Tests;

/// <summary>
/// A folder seen through a file system of its own whose client, as one of NFS, believes for a while what it knows of names, absent
/// names and attributes (bindfs). What other mounts change meanwhile it does not see, except in listings.
/// </summary>
internal sealed class CachingMount : IAsyncDisposable
{
    private readonly Process _server;

    private CachingMount(string path, Process server) => (Path, _server) = (path, server);

    public string Path { get; }

    /// <summary>Mounts <paramref name="folder"/> at <paramref name="path"/>; null where that can't be done.</summary>
    public static async Task<CachingMount?> TryMountAsync(string folder, string path, int seconds)
    {
        if (!Environment.IsPrivilegedProcess || !File.Exists("/dev/fuse"))
            return null;
        Directory.CreateDirectory(path);
        // Its own attr_timeout=0 is overruled only by an option that stands alone.
        string[] arguments =
            ["-f", "-o", $"entry_timeout={seconds},negative_timeout={seconds}", "-o", $"attr_timeout={seconds}", folder, path];
        var server = Process.Start(new ProcessStartInfo("bindfs", arguments) { UseShellExecute = false })!;
        var mount = new CachingMount(path, server);
        for (var tries = 0; !IsMounted(path); tries++)
        {
            Assert.True(tries < 600 && !server.HasExited, $"'{path}' was not mounted.");
            await Task.Delay(50, Fixture.Token);
        }

        return mount;
    }

    public async ValueTask DisposeAsync()
    {
        using (var unmount = Process.Start(new ProcessStartInfo("umount", ["--lazy", Path]) { UseShellExecute = false })!)
            await unmount.WaitForExitAsync(CancellationToken.None);
        if (!_server.WaitForExit(TimeSpan.FromSeconds(10)))
            _server.Kill();
        _server.Dispose();
    }

    private static bool IsMounted(string path) =>
        File.ReadLines("/proc/self/mountinfo").Any(line => line.Split(' ')[4] == path);
}
