// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>The constants every message of the protocol begins with.</summary>
public static class NbdMagic
{
    public const ulong Server = 0x4e42444d41474943; // NBDMAGIC

    public const ulong Option = 0x49484156454f5054; // IHAVEOPT

    public const ulong Oldstyle = 0x0000420281861253; // cliserv_magic

    public const ulong OptionReply = 0x0003e889045565a9; // NBD_REP_MAGIC

    public const uint Request = 0x25609513; // NBD_REQUEST_MAGIC

    public const uint SimpleReply = 0x67446698; // NBD_SIMPLE_REPLY_MAGIC

    public const uint StructuredReply = 0x668e33ef; // NBD_STRUCTURED_REPLY_MAGIC
}
