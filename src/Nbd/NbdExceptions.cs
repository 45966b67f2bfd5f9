// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>Anything that went wrong between this client and an NBD server.</summary>
public abstract class NbdException : IOException
{
    private protected NbdException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}

/// <summary>The server broke the protocol. The connection is closed already; another one may be tried.</summary>
public sealed class NbdProtocolException(string message) : NbdException(message);

/// <summary>The connection could not be made, or the peer, the network, a time limit or the owner ended it.</summary>
public sealed class NbdConnectionClosedException(string message, Exception? innerException = null)
    : NbdException(message, innerException);

/// <summary>The server refused an option of the handshake, such as an unknown export. The connection is closed.</summary>
public sealed class NbdNegotiationException(NbdOption option, NbdOptionReply reply, string message) : NbdException(message)
{
    public NbdOption Option { get; } = option;

    /// <summary>Why, in the protocol's words.</summary>
    public NbdOptionReply Reply { get; } = reply;
}

/// <summary>The server refused one request. The connection stays usable.</summary>
public sealed class NbdRequestException(NbdError error, string message) : NbdException(message)
{
    public NbdError Error { get; } = error;
}
