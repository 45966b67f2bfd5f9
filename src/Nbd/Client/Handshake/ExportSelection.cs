// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Text;

namespace Tidemark.Nbd;

/// <summary>
/// NBD_OPT_GO, which starts transmission, or NBD_OPT_INFO, which only tells; and NBD_OPT_EXPORT_NAME for servers without either.
/// </summary>
internal static class ExportSelection
{
    // size u64 | flags u16 | 124 zeroes, unless the zeroes were agreed away
    private const int ExportNameReplySize = 8 + 2;
    private const int ExportNamePadding = 124;

    /// <summary>Returns null when the server does not know the option.</summary>
    public static async ValueTask<NbdExport?> AskAsync(
        OptionChannel channel, NbdOption option, string exportName, CancellationToken cancellationToken)
    {
        await channel.SendAsync(option, Query(exportName), cancellationToken);
        var information = new Information(exportName);
        var final = await channel.ReceiveAllAsync(option, information.Take, cancellationToken);
        if (final.Header.Reply == NbdOptionReply.ErrorUnsupported)
            return null;
        return final.Header.IsError ? throw final.ToRefusal($"export '{exportName}'") : information.ToExport();
    }

    /// <summary>The old way: no error can be told, a server that has no such export just closes the connection.</summary>
    public static async ValueTask<NbdExport> SelectByNameAsync(
        OptionChannel channel, string exportName, NbdHandshakeFlags flags, CancellationToken cancellationToken)
    {
        await channel.SendAsync(NbdOption.ExportName, Encoding.UTF8.GetBytes(exportName), cancellationToken);
        var padding = flags.HasFlag(NbdHandshakeFlags.NoZeroes) ? 0 : ExportNamePadding;
        var reply = new byte[ExportNameReplySize + padding];
        await channel.Transport.ReceiveExactlyAsync(reply, $"the description of export '{exportName}'", cancellationToken);
        return new NbdExport
        {
            Name = exportName,
            Size = CheckedSize(BinaryPrimitives.ReadUInt64BigEndian(reply)),
            Flags = (NbdTransmissionFlags)BinaryPrimitives.ReadUInt16BigEndian(reply.AsSpan(8)),
        };
    }

    // name length u32 | name | number of items u16 | item u16 *
    private static byte[] Query(string exportName)
    {
        NbdInfo[] items = [NbdInfo.Name, NbdInfo.Description, NbdInfo.BlockSize];
        var name = Encoding.UTF8.GetBytes(exportName);
        var data = new byte[4 + name.Length + 2 + 2 * items.Length];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)name.Length);
        name.CopyTo(data.AsSpan(4));
        BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(4 + name.Length), (ushort)items.Length);
        for (var i = 0; i < items.Length; i++)
            BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(4 + name.Length + 2 + 2 * i), (ushort)items[i]);
        return data;
    }

    private static long CheckedSize(ulong size) => size <= long.MaxValue
        ? (long)size
        : throw new NbdProtocolException($"Server named an export of {size} bytes; at most {long.MaxValue} are possible.");

    /// <summary>The items of the reply; each begins with its type, u16.</summary>
    private sealed class Information(string exportName)
    {
        private (long Size, NbdTransmissionFlags Flags)? _export;
        private string? _name;
        private string? _description;
        private NbdBlockSizes _blockSizes = NbdBlockSizes.Unconstrained;

        public void Take(OptionReply reply)
        {
            reply.Expect(NbdOptionReply.Info);
            reply.ExpectLength(2);
            var data = reply.Data.AsSpan(2);
            switch ((NbdInfo)BinaryPrimitives.ReadUInt16BigEndian(reply.Data))
            {
                case NbdInfo.Export:
                    ExpectItem(reply, "NBD_INFO_EXPORT", 2 + 8 + 2);
                    _export = (CheckedSize(BinaryPrimitives.ReadUInt64BigEndian(data)),
                        (NbdTransmissionFlags)BinaryPrimitives.ReadUInt16BigEndian(data[8..]));
                    break;
                case NbdInfo.Name:
                    _name = OptionChannel.Text(data, "an export name");
                    break;
                case NbdInfo.Description:
                    _description = OptionChannel.Text(data, "an export description");
                    break;
                case NbdInfo.BlockSize:
                    ExpectItem(reply, "NBD_INFO_BLOCK_SIZE", 2 + 4 + 4 + 4);
                    _blockSizes = new NbdBlockSizes(
                        BinaryPrimitives.ReadUInt32BigEndian(data),
                        BinaryPrimitives.ReadUInt32BigEndian(data[4..]),
                        BinaryPrimitives.ReadUInt32BigEndian(data[8..])).Checked();
                    break;
                default: // Items that were not asked for are to be ignored.
                    break;
            }
        }

        public NbdExport ToExport() => new()
        {
            Name = exportName,
            CanonicalName = _name,
            Description = _description,
            Size = _export?.Size ?? throw new NbdProtocolException($"Server agreed to export '{exportName}' without naming its size."),
            Flags = _export.Value.Flags,
            BlockSizes = _blockSizes,
        };

        private static void ExpectItem(OptionReply reply, string item, int length)
        {
            if (reply.Data.Length != length)
                throw new NbdProtocolException($"Server sent {item} of {reply.Data.Length} bytes; {length} are required.");
        }
    }
}
