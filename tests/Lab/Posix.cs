// SPDX-License-Identifier: Apache-2.0
using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Tidemark.Lab;

/// <summary>The few system calls the lab needs and .NET lacks.</summary>
internal static partial class Posix
{
    internal const int SigKill = 9;
    internal const int SigTerm = 15;
    internal const int SigContinue = 18;
    internal const int SigStop = 19;

    internal static bool IsRoot => GetEffectiveUserId() == 0;

    [LibraryImport("libc", EntryPoint = "geteuid")]
    internal static partial uint GetEffectiveUserId();

    [LibraryImport("libc", EntryPoint = "getegid")]
    internal static partial uint GetEffectiveGroupId();

    /// <summary>Gives a file or folder away; nothing happens when it already belongs to that user.</summary>
    internal static void ChangeOwner(string path, uint userId, uint groupId)
    {
        if (IsRoot && ChangeOwnerOf(path, userId, groupId) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"Cannot give '{path}' to user {userId}.");
    }

    internal static void ChangeMode(string path, uint mode)
    {
        if (ChangeModeOf(path, mode) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"Cannot change the mode of '{path}'.");
    }

    /// <summary>Signals one process; a process that is gone already is no error.</summary>
    internal static void Signal(int processId, int signal)
    {
        const int NoSuchProcess = 3;
        if (Kill(processId, signal) != 0 && Marshal.GetLastPInvokeError() is var error and not NoSuchProcess)
            throw new Win32Exception(error, $"Cannot send signal {signal} to process {processId}.");
    }

    [LibraryImport("libc", EntryPoint = "chown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeOwnerOf(string path, uint userId, uint groupId);

    [LibraryImport("libc", EntryPoint = "chmod", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeModeOf(string path, uint mode);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int processId, int signal);
}
