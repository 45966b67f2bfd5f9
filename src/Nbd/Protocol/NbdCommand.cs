// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>Requests of the transmission phase (spec, "Request types").</summary>
public enum NbdCommand : ushort
{
    Read = 0, // NBD_CMD_READ
    Write = 1, // NBD_CMD_WRITE
    Disconnect = 2, // NBD_CMD_DISC
    Flush = 3, // NBD_CMD_FLUSH
    Trim = 4, // NBD_CMD_TRIM
    Cache = 5, // NBD_CMD_CACHE
    WriteZeroes = 6, // NBD_CMD_WRITE_ZEROES
    BlockStatus = 7, // NBD_CMD_BLOCK_STATUS
}

/// <summary>Flags of a request (spec, "Command flags").</summary>
[Flags]
public enum NbdCommandFlags : ushort
{
    None = 0,
    ForceUnitAccess = 1, // NBD_CMD_FLAG_FUA
    NoHole = 2, // NBD_CMD_FLAG_NO_HOLE
    DoNotFragment = 4, // NBD_CMD_FLAG_DF
    RequestOne = 8, // NBD_CMD_FLAG_REQ_ONE
    FastZero = 16, // NBD_CMD_FLAG_FAST_ZERO
}

/// <summary>What an export offers (spec, "Transmission flags").</summary>
[Flags]
public enum NbdTransmissionFlags : ushort
{
    None = 0,
    HasFlags = 1 << 0, // NBD_FLAG_HAS_FLAGS
    ReadOnly = 1 << 1, // NBD_FLAG_READ_ONLY
    Flush = 1 << 2, // NBD_FLAG_SEND_FLUSH
    ForceUnitAccess = 1 << 3, // NBD_FLAG_SEND_FUA
    Rotational = 1 << 4, // NBD_FLAG_ROTATIONAL
    Trim = 1 << 5, // NBD_FLAG_SEND_TRIM
    WriteZeroes = 1 << 6, // NBD_FLAG_SEND_WRITE_ZEROES
    DoNotFragment = 1 << 7, // NBD_FLAG_SEND_DF
    MultiConnection = 1 << 8, // NBD_FLAG_CAN_MULTI_CONN
    Resize = 1 << 9, // NBD_FLAG_SEND_RESIZE
    Cache = 1 << 10, // NBD_FLAG_SEND_CACHE
    FastZero = 1 << 11, // NBD_FLAG_SEND_FAST_ZERO
}

/// <summary>Error numbers of the protocol (spec, "Error values"); the values of Linux, on every platform.</summary>
public enum NbdError : uint
{
    None = 0,
    NotPermitted = 1, // NBD_EPERM
    InputOutput = 5, // NBD_EIO
    OutOfMemory = 12, // NBD_ENOMEM
    Invalid = 22, // NBD_EINVAL
    NoSpace = 28, // NBD_ENOSPC
    Overflow = 75, // NBD_EOVERFLOW
    NotSupported = 95, // NBD_ENOTSUP
    ShuttingDown = 108, // NBD_ESHUTDOWN
}
