// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

/// <summary>How long agent calls wait: whole seconds, or one of libvirt's three meanings.</summary>
public readonly record struct AgentTimeout(int Seconds)
{
    public static readonly AgentTimeout Block = new(-2); // VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK: for ever

    public static readonly AgentTimeout Default = new(-1); // VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_DEFAULT

    public static readonly AgentTimeout NoWait = new(0); // VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_NOWAIT
}

public sealed partial class Domain
{
    /// <summary>
    /// Bounds all later agent calls of the machine, by anyone, until it is set again. Without it a hung agent blocks a freeze for ever.
    /// </summary>
    public Task SetAgentResponseTimeoutAsync(AgentTimeout timeout, CancellationToken cancellationToken = default) =>
        CallAsync(
            "set the agent timeout of",
            (domain, what) => LibvirtErrors.Require(AgentNative.SetResponseTimeout(domain, timeout.Seconds, 0), what),
            cancellationToken);

    /// <summary>
    /// Freezes the guest's file systems (null: all) and returns how many; a mount point the guest does not know counts nothing.
    /// </summary>
    /// <exception cref="AgentUnresponsiveException">No agent answers; the guest may be frozen all the same.</exception>
    /// <exception cref="LibvirtException">Code <see cref="LibvirtErrorCode.ArgumentUnsupported"/>: the machine has no agent
    /// channel.</exception>
    public Task<int> FreezeFileSystemsAsync(IReadOnlyList<string>? mountPoints = null, CancellationToken cancellationToken = default) =>
        CallAsync(
            "freeze the file systems of",
            (domain, what) =>
            {
                var paths = mountPoints?.ToArray();
                return LibvirtErrors.Require(AgentNative.Freeze(domain, paths, (uint)(paths?.Length ?? 0), 0), what);
            },
            cancellationToken);

    /// <summary>Thaws all file systems and returns how many were frozen; 0 when none was.</summary>
    /// <exception cref="AgentUnresponsiveException">No agent answers.</exception>
    public Task<int> ThawFileSystemsAsync(CancellationToken cancellationToken = default) =>
        CallAsync(
            "thaw the file systems of",
            (domain, what) => LibvirtErrors.Require(AgentNative.Thaw(domain, null, 0, 0), what),
            cancellationToken);

    /// <summary>Sends the agent a JSON command past libvirt and returns its JSON answer.</summary>
    public Task<string> AgentCommandAsync(string json, AgentTimeout timeout, CancellationToken cancellationToken = default) =>
        CallAsync(
            "send an agent command to",
            (domain, what) => LibvirtErrors.Require(AgentNative.Command(domain, json, timeout.Seconds, 0), what),
            cancellationToken);
}
