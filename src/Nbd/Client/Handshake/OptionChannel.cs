// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Nbd;

/// <summary>Options and their replies over a transport: framing and limits, no knowledge of what an option means.</summary>
internal sealed class OptionChannel(Transport transport)
{
    private static readonly UTF8Encoding _strictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Replaced when TLS starts.</summary>
    public Transport Transport { get; set; } = transport;

    public ValueTask SendAsync(NbdOption option, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        var message = new byte[NbdOptionHeader.Size + data.Length];
        new NbdOptionHeader(option, (uint)data.Length).Write(message);
        data.CopyTo(message.AsMemory(NbdOptionHeader.Size));
        return Transport.SendAsync(message, cancellationToken);
    }

    /// <exception cref="NbdProtocolException">The reply is malformed, too long, or belongs to another option.</exception>
    public async ValueTask<OptionReply> ReceiveAsync(NbdOption option, CancellationToken cancellationToken)
    {
        var head = new byte[NbdOptionReplyHeader.Size];
        await Transport.ReceiveExactlyAsync(head, $"a reply to option '{option}'", cancellationToken);
        var header = NbdOptionReplyHeader.Read(head);
        if (header.Option != option)
            throw new NbdProtocolException($"Server replied to option '{header.Option}'; a reply to '{option}' is due.");
        if (header.Length > NbdLimits.MaxOptionReplyLength)
            throw new NbdProtocolException(
                $"Server replied to option '{option}' with {header.Length} bytes; at most {NbdLimits.MaxOptionReplyLength} are accepted.");
        var data = new byte[header.Length];
        await Transport.ReceiveExactlyAsync(data, $"the data of a reply to option '{option}'", cancellationToken);
        return new OptionReply(header, data);
    }

    /// <summary>Replies up to the final one; the callback gets each that is neither an acknowledgement nor an error.</summary>
    /// <returns>The final reply.</returns>
    public async ValueTask<OptionReply> ReceiveAllAsync(NbdOption option, Action<OptionReply> each, CancellationToken cancellationToken)
    {
        for (var count = 0; ; count++)
        {
            var reply = await ReceiveAsync(option, cancellationToken);
            if (reply.Header.IsError)
                return reply;
            if (reply.Header.Reply == NbdOptionReply.Ack)
                return reply.Header.Length == 0
                    ? reply
                    : throw new NbdProtocolException(
                        $"Server acknowledged option '{option}' with {reply.Header.Length} bytes; none may follow.");
            if (count == NbdLimits.MaxOptionReplies)
                throw new NbdProtocolException($"Server sent more than {NbdLimits.MaxOptionReplies} replies to option '{option}'.");
            each(reply);
        }
    }

    /// <summary>Text of the wire, which must be UTF-8 of at most 4096 bytes.</summary>
    public static string Text(ReadOnlySpan<byte> bytes, string what)
    {
        if (bytes.Length > NbdLimits.MaxStringLength)
            throw new NbdProtocolException($"Server sent {what} of {bytes.Length} bytes; at most {NbdLimits.MaxStringLength} are allowed.");
        try
        {
            return _strictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw new NbdProtocolException($"Server sent {what} that is not UTF-8.");
        }
    }
}

/// <summary>One reply to an option.</summary>
internal readonly record struct OptionReply(NbdOptionReplyHeader Header, byte[] Data)
{
    /// <exception cref="NbdProtocolException">It is of another type, which has no place here.</exception>
    public void Expect(NbdOptionReply type)
    {
        if (Header.Reply != type)
            throw new NbdProtocolException($"Server replied to option '{Header.Option}' with type '{Header.Reply}'; '{type}' is due.");
    }

    public void ExpectLength(int least)
    {
        if (Data.Length < least)
            throw new NbdProtocolException(
                $"Server replied to option '{Header.Option}' with {Data.Length} bytes; at least {least} are required.");
    }

    /// <summary>The server's refusal as an exception, with its own text where it sent one.</summary>
    public NbdNegotiationException ToRefusal(string what)
    {
        var reason = Header.Reply switch
        {
            NbdOptionReply.ErrorUnsupported => "it does not know the option",
            NbdOptionReply.ErrorPolicy => "its policy forbids it",
            NbdOptionReply.ErrorInvalid => "it calls the request invalid",
            NbdOptionReply.ErrorPlatform => "its platform cannot",
            NbdOptionReply.ErrorTlsRequired => "TLS is required",
            NbdOptionReply.ErrorUnknown => "there is no such export",
            NbdOptionReply.ErrorShutdown => "it is shutting down",
            NbdOptionReply.ErrorBlockSizeRequired => "block sizes must be agreed on",
            NbdOptionReply.ErrorTooBig => "the request is too big",
            _ => $"error {(uint)Header.Reply & 0x7fffffff}",
        };
        var text = Encoding.UTF8.GetString(Data.AsSpan(0, Math.Min(Data.Length, NbdLimits.MaxStringLength))).TrimEnd('.', '\0', '\n');
        var said = text.Length > 0 ? $", and said '{text}'" : "";
        return new NbdNegotiationException(Header.Option, Header.Reply, $"Server refused {what}: {reason}{said}.");
    }
}
