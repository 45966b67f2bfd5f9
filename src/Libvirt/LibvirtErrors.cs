// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

/// <summary>
/// Turns the calling thread's last libvirt error into an exception. It must run before the next libvirt call on that thread, which
/// includes the release of a handle.
/// </summary>
internal static class LibvirtErrors
{
    private const int FromRpc = 7; // VIR_FROM_RPC

    /// <summary>The exception for the last error of this thread; <paramref name="action"/> reads "start domain 'web'".</summary>
    internal static LibvirtException Create(string action)
    {
        var (code, domain, text) = ErrorNative.Last();
        return Create($"Cannot {action}: {text.TrimEnd('.')}.", (LibvirtErrorCode)code, domain, text);
    }

    internal static LibvirtException CreateUnreachable(string action)
    {
        var (code, domain, text) = ErrorNative.Last();
        return new LibvirtConnectionException($"Cannot {action}: {text.TrimEnd('.')}.", (LibvirtErrorCode)code, domain, text);
    }

    internal static LibvirtException CreateLost(string action, string uri)
    {
        var text = $"the connection to '{uri}' is lost";
        return new LibvirtConnectionException($"Cannot {action}: {text}.", LibvirtErrorCode.Internal, FromRpc, text);
    }

    internal static int Require(int status, string action) => status >= 0 ? status : throw Create(action);

    internal static T Require<T>([NotNull] T? result, string action)
        where T : class =>
        result is null or SafeHandle { IsInvalid: true } ? throw Create(action) : result;

    internal static LibvirtException Create(string message, LibvirtErrorCode code, int domain, string text) => code switch
    {
        LibvirtErrorCode.NoDomain or LibvirtErrorCode.NoCheckpoint or LibvirtErrorCode.NoBackup
            => new LibvirtNotFoundException(message, code, domain, text),
        LibvirtErrorCode.OperationTimeout => new LibvirtBusyException(message, code, domain, text),
        LibvirtErrorCode.AgentUnresponsive or LibvirtErrorCode.AgentUnsynced
            => new AgentUnresponsiveException(message, code, domain, text),
        // The connection's own errors come from this side of the socket; those of the daemon carry the domain of a driver.
        LibvirtErrorCode.Internal or LibvirtErrorCode.SystemError when domain == FromRpc
            => new LibvirtConnectionException(message, code, domain, text),
        _ => new LibvirtException(message, code, domain, text),
    };
}
