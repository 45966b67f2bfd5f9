// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>Options of the handshake (spec, "Option types").</summary>
public enum NbdOption : uint
{
    ExportName = 1, // NBD_OPT_EXPORT_NAME
    Abort = 2, // NBD_OPT_ABORT
    List = 3, // NBD_OPT_LIST
    StartTls = 5, // NBD_OPT_STARTTLS
    Info = 6, // NBD_OPT_INFO
    Go = 7, // NBD_OPT_GO
    StructuredReply = 8, // NBD_OPT_STRUCTURED_REPLY
    ListMetaContext = 9, // NBD_OPT_LIST_META_CONTEXT
    SetMetaContext = 10, // NBD_OPT_SET_META_CONTEXT
}

/// <summary>Types of a reply to an option (spec, "Option reply types"); bit 31 marks an error.</summary>
public enum NbdOptionReply : uint
{
    Ack = 1, // NBD_REP_ACK
    Server = 2, // NBD_REP_SERVER
    Info = 3, // NBD_REP_INFO
    MetaContext = 4, // NBD_REP_META_CONTEXT
    ErrorUnsupported = 0x80000001, // NBD_REP_ERR_UNSUP
    ErrorPolicy = 0x80000002, // NBD_REP_ERR_POLICY
    ErrorInvalid = 0x80000003, // NBD_REP_ERR_INVALID
    ErrorPlatform = 0x80000004, // NBD_REP_ERR_PLATFORM
    ErrorTlsRequired = 0x80000005, // NBD_REP_ERR_TLS_REQD
    ErrorUnknown = 0x80000006, // NBD_REP_ERR_UNKNOWN
    ErrorShutdown = 0x80000007, // NBD_REP_ERR_SHUTDOWN
    ErrorBlockSizeRequired = 0x80000008, // NBD_REP_ERR_BLOCK_SIZE_REQD
    ErrorTooBig = 0x80000009, // NBD_REP_ERR_TOO_BIG
}

/// <summary>Items of information about an export (spec, NBD_OPT_INFO).</summary>
public enum NbdInfo : ushort
{
    Export = 0, // NBD_INFO_EXPORT
    Name = 1, // NBD_INFO_NAME
    Description = 2, // NBD_INFO_DESCRIPTION
    BlockSize = 3, // NBD_INFO_BLOCK_SIZE
}

/// <summary>Flags a server greets with.</summary>
[Flags]
public enum NbdHandshakeFlags : ushort
{
    None = 0,
    FixedNewstyle = 1, // NBD_FLAG_FIXED_NEWSTYLE
    NoZeroes = 2, // NBD_FLAG_NO_ZEROES
}
