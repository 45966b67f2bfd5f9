// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Qemu.Qmp;

/// <summary>QEMU refused a command; the connection stays usable. Class and description are QEMU's own (QMP specification, 2.4.2).</summary>
public sealed class QmpCommandException(string command, string errorClass, string description)
    : Exception($"QEMU refused '{command}': {description.TrimEnd('.')} ({errorClass}).")
{
    public string Command { get; } = command;

    /// <summary>Such as <c>GenericError</c>, <c>CommandNotFound</c>, <c>DeviceNotFound</c>.</summary>
    public string ErrorClass { get; } = errorClass;

    public string Description { get; } = description;
}

/// <summary>The peer said something that is not QMP; the connection is closed and every pending call gets this.</summary>
public sealed class QmpProtocolException(string message, Exception? innerException = null) : Exception(message, innerException);

/// <summary>The connection ended: by the peer, by us, or it never came to be. Reconnect, or learn that the machine is gone.</summary>
public sealed class QmpClosedException(string message, Exception? innerException = null) : Exception(message, innerException);
