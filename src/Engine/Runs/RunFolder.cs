// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Native;

namespace Tidemark.Engine.Runs;

/// <summary>
/// The folder of one run: the NBD socket and the scratch files. Only the hypervisor's user and root get in, since whoever
/// reaches the socket reads the disks, and one who connects and says nothing can hang QEMU when the backup ends.
/// </summary>
internal static class RunFolder
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Passable = Owner | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    // Room for "/nbd.sock" within the 107 bytes of a unix socket's path.
    private const int LongestPath = 98;

    /// <summary>The longest path of a scratch folder, bytes.</summary>
    public const int LongestScratch = LongestPath - 33;

    /// <summary>The sockets of runs would not fit into this scratch folder's path.</summary>
    public static bool IsTooLong(string scratch) => System.Text.Encoding.UTF8.GetByteCount(scratch) > LongestScratch;

    public static string PathOf(HostFolders folders, Guid run) => Path.Combine(folders.Scratch, run.ToString("n"));

    public static string Socket(string folder) => Path.Combine(folder, "nbd.sock");

    public static string Scratch(string folder, string disk) => Path.Combine(folder, $"{disk}.scratch");

    /// <summary>Makes the folder, for nobody but this user.</summary>
    /// <exception cref="EngineException">It cannot be made, or its path is too long.</exception>
    public static void Create(HostFolders folders, string folder)
    {
        if (System.Text.Encoding.UTF8.GetByteCount(folder) > LongestPath)
        {
            throw EngineException.Failed(
                $"The scratch folder '{folders.Scratch}' is too long a path for a unix socket: at most {LongestScratch} bytes.",
                "set TIDEMARK_SCRATCH, or 'scratch' in the settings file, to a shorter one");
        }

        Try(folder, () =>
        {
            if (!Directory.Exists(folders.Scratch))
                Directory.CreateDirectory(folders.Scratch, Passable);
            Directory.CreateDirectory(folder, Owner);
        });
    }

    /// <summary>Gives the folder to the user that QEMU runs as; null leaves it as it is.</summary>
    /// <exception cref="EngineException">This user may not do that.</exception>
    public static void Claim(string folder, (uint User, uint Group)? owner)
    {
        if (owner is { } qemu)
            Try(folder, () => FileCalls.GiveTo(folder, qemu.User, qemu.Group));
    }

    public static void Remove(string folder)
    {
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    private static void Try(string folder, Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw EngineException.Failed(
                $"The scratch folder '{folder}' cannot be made ready for QEMU's user: {e.Message}",
                "run as root, or as the user that QEMU runs as",
                e);
        }
    }
}
