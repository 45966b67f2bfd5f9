// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Nbd;

/// <summary>NBD_OPT_LIST: the exports a server admits to have.</summary>
internal static class ExportList
{
    public static async ValueTask<IReadOnlyList<NbdListEntry>> AskAsync(OptionChannel channel, CancellationToken cancellationToken)
    {
        await channel.SendAsync(NbdOption.List, ReadOnlyMemory<byte>.Empty, cancellationToken);
        var entries = new List<NbdListEntry>();
        var final = await channel.ReceiveAllAsync(NbdOption.List, reply => entries.Add(Entry(reply)), cancellationToken);
        return final.Header.IsError ? throw final.ToRefusal("to list its exports") : entries;
    }

    // name length u32 | name | description
    private static NbdListEntry Entry(OptionReply reply)
    {
        reply.Expect(NbdOptionReply.Server);
        reply.ExpectLength(4);
        var length = BinaryPrimitives.ReadUInt32BigEndian(reply.Data);
        if (length > reply.Data.Length - 4)
            throw new NbdProtocolException(
                $"Server listed an export with a name of {length} bytes in a reply of {reply.Data.Length} bytes.");
        var name = OptionChannel.Text(reply.Data.AsSpan(4, (int)length), "an export name");
        var description = OptionChannel.Text(reply.Data.AsSpan(4 + (int)length), "an export description");
        return new NbdListEntry(name, description.Length > 0 ? description : null);
    }
}
