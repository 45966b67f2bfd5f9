// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Libvirt;

/// <summary>
/// How a connection notices that the other side is gone: after <see cref="KeepAliveCount"/> unanswered pings its calls fail.
/// </summary>
public sealed record LibvirtConnectionOptions
{
    /// <summary>Time between pings, whole seconds.</summary>
    public TimeSpan KeepAliveInterval { get; init; } = TimeSpan.FromSeconds(5);

    public int KeepAliveCount { get; init; } = 6;
}

/// <summary>Why a connection ended (virConnectCloseReason).</summary>
public enum CloseReason
{
    Error = 0, // VIR_CONNECT_CLOSE_REASON_ERROR
    EndOfFile = 1, // VIR_CONNECT_CLOSE_REASON_EOF: the daemon went away
    KeepAlive = 2, // VIR_CONNECT_CLOSE_REASON_KEEPALIVE: it no longer answers
    Client = 3, // VIR_CONNECT_CLOSE_REASON_CLIENT
}
