// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Libvirt;

/// <summary>
/// libvirt refused or failed a call. <see cref="LibvirtMessage"/> is its own text, unchanged; the connection stays usable unless a
/// subtype says otherwise.
/// </summary>
public class LibvirtException(string message, LibvirtErrorCode code, int domain, string libvirtMessage) : Exception(message)
{
    /// <summary>virErrorNumber; numbers without a name here are kept.</summary>
    public LibvirtErrorCode Code { get; } = code;

    /// <summary>virErrorDomain: the part of libvirt that raised the error (7 is the connection, 10 the QEMU driver).</summary>
    public int Domain { get; } = domain;

    public string LibvirtMessage { get; } = libvirtMessage;
}

/// <summary>The machine, checkpoint or backup that was named does not exist (any more).</summary>
public sealed class LibvirtNotFoundException(string message, LibvirtErrorCode code, int domain, string libvirtMessage)
    : LibvirtException(message, code, domain, libvirtMessage);

/// <summary>Another job holds the machine: libvirt waited 30 seconds for it. Try again later.</summary>
public sealed class LibvirtBusyException(string message, LibvirtErrorCode code, int domain, string libvirtMessage)
    : LibvirtException(message, code, domain, libvirtMessage);

/// <summary>
/// The guest agent is not connected, did not answer in time or went away. A freeze that ended so may still happen: confirm with a thaw.
/// </summary>
public sealed class AgentUnresponsiveException(string message, LibvirtErrorCode code, int domain, string libvirtMessage)
    : LibvirtException(message, code, domain, libvirtMessage);

/// <summary>
/// The daemon cannot be reached, or the connection broke before the answer: whether the call took effect is unknown. Reopen and look.
/// </summary>
public sealed class LibvirtConnectionException(string message, LibvirtErrorCode code, int domain, string libvirtMessage)
    : LibvirtException(message, code, domain, libvirtMessage);

/// <summary>The libvirt client library is not installed on this machine.</summary>
public sealed class LibvirtMissingException(string library)
    : LibvirtException(
        $"The library '{library}' is not installed; the package 'libvirt0' holds it ('apt install libvirt0').",
        LibvirtErrorCode.None,
        0,
        "");
