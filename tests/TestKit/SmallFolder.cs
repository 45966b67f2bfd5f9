// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;

namespace Tidemark.TestKit;

/// <summary>What runs out on a file system.</summary>
public enum Room
{
    Bytes,
    Names,
}

/// <summary>A file system in memory of a few MiB and 1000 names, which can be filled up to the last byte or name, and emptied.</summary>
public sealed class SmallFolder : IAsyncDisposable
{
    private const int ErrnoNoSpace = 28;
    private const string Ballast = ".ballast";

    private SmallFolder(string path) => Path = path;

    public string Path { get; }

    /// <summary>Mounts one; null where none can be mounted.</summary>
    public static async Task<SmallFolder?> TryMountAsync(string path, int mebibytes)
    {
        Directory.CreateDirectory(path);
        var options = string.Create(CultureInfo.InvariantCulture, $"size={mebibytes}m,nr_inodes=1000");
        return Environment.IsPrivilegedProcess && await RunAsync("mount", "-t", "tmpfs", "-o", options, "none", path)
            ? new SmallFolder(path)
            : null;
    }

    /// <summary>Takes all that is left, in a folder of its own beside what is there.</summary>
    public void Fill(Room what)
    {
        var folder = Directory.CreateDirectory(System.IO.Path.Combine(Path, Ballast)).FullName;
        try
        {
            using var file = File.OpenHandle(System.IO.Path.Combine(folder, "bytes"), FileMode.Create, FileAccess.Write);
            var block = new byte[4096];
            for (long at = 0; what == Room.Bytes; at += block.Length)
                RandomAccess.Write(file, block, at);
            for (var number = 0; ; number++)
                File.Create(System.IO.Path.Combine(folder, number.ToString(CultureInfo.InvariantCulture))).Dispose();
        }
        catch (IOException full) when (full.HResult == ErrnoNoSpace)
        {
            return;
        }
    }

    /// <summary>Gives back what <see cref="Fill"/> took.</summary>
    public void Release() => Directory.Delete(System.IO.Path.Combine(Path, Ballast), recursive: true);

    public async ValueTask DisposeAsync() => await RunAsync("umount", "--lazy", Path);

    private static async Task<bool> RunAsync(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        await process.WaitForExitAsync(CancellationToken.None);
        return process.ExitCode == 0;
    }
}
