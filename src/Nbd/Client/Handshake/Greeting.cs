// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Tidemark.Nbd;

/// <summary>
/// The first step: the server's <c>NBDMAGIC u64 | IHAVEOPT u64 | flags u16</c>, the client's <c>flags u32</c>.
/// Only the fixed newstyle is spoken; its fix is what makes options with errors possible at all.
/// </summary>
internal static class Greeting
{
    /// <summary>Returns the flags both sides share.</summary>
    public static async ValueTask<NbdHandshakeFlags> ExchangeAsync(OptionChannel channel, CancellationToken cancellationToken)
    {
        var greeting = new byte[8 + 8 + 2];
        await channel.Transport.ReceiveExactlyAsync(greeting.AsMemory(0, 16), "its greeting", cancellationToken);
        var first = BinaryPrimitives.ReadUInt64BigEndian(greeting);
        var second = BinaryPrimitives.ReadUInt64BigEndian(greeting.AsSpan(8));
        if (first != NbdMagic.Server)
            throw new NbdProtocolException(
                $"Server greeted with '{first:x16}', so it is no NBD server; '{NbdMagic.Server:x16}' is required.");
        if (second == NbdMagic.Oldstyle)
            throw new NbdProtocolException(
                "Server speaks the oldstyle protocol, which carries no export names; the fixed newstyle is required.");
        if (second != NbdMagic.Option)
            throw new NbdProtocolException($"Server greeted with the unknown style '{second:x16}'; '{NbdMagic.Option:x16}' is required.");

        await channel.Transport.ReceiveExactlyAsync(greeting.AsMemory(16), "its greeting flags", cancellationToken);
        var flags = (NbdHandshakeFlags)BinaryPrimitives.ReadUInt16BigEndian(greeting.AsSpan(16));
        if (!flags.HasFlag(NbdHandshakeFlags.FixedNewstyle))
            throw new NbdProtocolException("Server speaks the unfixed newstyle protocol; the fixed newstyle is required.");
        flags &= NbdHandshakeFlags.FixedNewstyle | NbdHandshakeFlags.NoZeroes;
        var answer = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(answer, (uint)flags);
        await channel.Transport.SendAsync(answer, cancellationToken);
        return flags;
    }
}
