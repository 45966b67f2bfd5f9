// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;

namespace Tidemark.Nbd;

/// <summary>What a finished handshake leaves: the open transport, the export, the contexts with their ids.</summary>
internal sealed record Negotiated(Transport Transport, NbdExport Export, IReadOnlyList<MetaContext> Contexts);

/// <summary>
/// Connects and walks through the steps: greeting, TLS, structured replies, contexts, GO. One time limit covers all of it, and
/// on any failure the socket is closed at once: a QEMU that stops its server while a client negotiates can hang for good.
/// </summary>
internal static class NbdHandshake
{
    /// <summary>Into the transmission phase of the URI's export.</summary>
    public static Task<Negotiated> GoAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken) =>
        RunAsync(uri, options, keepOpen: true, async (channel, flags, token) =>
        {
            var isStructured = options.StructuredReplies && await MetaContexts.AskForStructuredRepliesAsync(channel, token);
            var contexts = isStructured && options.Contexts.Count > 0
                ? await MetaContexts.SetAsync(channel, uri.ExportName, options.Contexts, token)
                : [];
            var export = await ExportSelection.AskAsync(channel, NbdOption.Go, uri.ExportName, token)
                ?? await ExportSelection.SelectByNameAsync(channel, uri.ExportName, flags, token);
            export = export with { HasStructuredReplies = isStructured, Contexts = [.. contexts.Select(context => context.Name)] };
            return new Negotiated(channel.Transport, export, contexts);
        }, cancellationToken);

    /// <summary>All exports; the connection is closed again.</summary>
    public static Task<IReadOnlyList<NbdListEntry>> ListAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken) =>
        RunAsync(uri, options, keepOpen: false, async (channel, _, token) =>
        {
            var entries = await ExportList.AskAsync(channel, token);
            await channel.SendAsync(NbdOption.Abort, ReadOnlyMemory<byte>.Empty, token);
            return entries;
        }, cancellationToken);

    /// <summary>What the server says of one export, with all meta contexts it has; the connection is closed again.</summary>
    public static Task<NbdExport> InfoAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken) =>
        RunAsync(uri, options, keepOpen: false, async (channel, _, token) =>
        {
            var isStructured = options.StructuredReplies && await MetaContexts.AskForStructuredRepliesAsync(channel, token);
            var contexts = isStructured ? await MetaContexts.ListAsync(channel, uri.ExportName, [], token) : [];
            var export = await ExportSelection.AskAsync(channel, NbdOption.Info, uri.ExportName, token)
                ?? throw new NbdNegotiationException(NbdOption.Info, NbdOptionReply.ErrorUnsupported,
                    $"Server cannot describe export '{uri.ExportName}' without opening it.");
            await channel.SendAsync(NbdOption.Abort, ReadOnlyMemory<byte>.Empty, token);
            return export with { HasStructuredReplies = isStructured, Contexts = contexts };
        }, cancellationToken);

    private static async Task<T> RunAsync<T>(
        NbdUri uri,
        NbdClientOptions options,
        bool keepOpen,
        Func<OptionChannel, NbdHandshakeFlags, CancellationToken, ValueTask<T>> steps,
        CancellationToken cancellationToken)
    {
        var result = default(T);
        await OwnThread.RunAsync(IsBlocking(uri), async () => result = await WalkAsync(uri, options, keepOpen, steps, cancellationToken));
        return result!;
    }

    private static async Task<T> WalkAsync<T>(
        NbdUri uri,
        NbdClientOptions options,
        bool keepOpen,
        Func<OptionChannel, NbdHandshakeFlags, CancellationToken, ValueTask<T>> steps,
        CancellationToken cancellationToken)
    {
        using var timeout = new CancellationTokenSource(options.HandshakeTimeout, options.Clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        OptionChannel? channel = null;
        var isDone = false;
        try
        {
            channel = new OptionChannel(await ConnectAsync(uri, limit.Token));
            var flags = await Greeting.ExchangeAsync(channel, limit.Token);
            if (uri.UsesTls)
                await StartTls.UpgradeAsync(channel, uri, limit.Token);
            var result = await steps(channel, flags, limit.Token);
            isDone = keepOpen;
            return result;
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new NbdConnectionClosedException($"'{uri}' did not answer within {options.HandshakeTimeout.TotalSeconds:0.###} s.", e);
        }
        catch (OperationCanceledException e)
        {
            throw new OperationCanceledException(e.Message, e, cancellationToken);
        }
        catch (Exception e) when (e is SocketException or IOException and not NbdException)
        {
            throw new NbdConnectionClosedException($"'{uri}' cannot be reached: {e.Message.TrimEnd('.')}.", e);
        }
        finally
        {
            if (!isDone)
                channel?.Transport.Dispose();
        }
    }

    // A server on this host is read by blocking calls, which are faster; TLS has only the asynchronous kind.
    private static bool IsBlocking(NbdUri uri) => uri.SocketPath is not null && !uri.UsesTls;

    private static async ValueTask<Transport> ConnectAsync(NbdUri uri, CancellationToken cancellationToken)
    {
        var socket = uri.SocketPath is null
            ? new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }
            : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            if (IsBlocking(uri))
                return BlockingTransport.Connect(socket, UnixAddress(uri), cancellationToken);
            if (uri.SocketPath is null)
                await socket.ConnectAsync(uri.Host!, uri.Port, cancellationToken);
            else
                await socket.ConnectAsync(UnixAddress(uri), cancellationToken);
            return new SocketTransport(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static UnixDomainSocketEndPoint UnixAddress(NbdUri uri)
    {
        try
        {
            return new UnixDomainSocketEndPoint(uri.SocketPath!);
        }
        catch (ArgumentOutOfRangeException e)
        {
            throw new NbdConnectionClosedException($"Path '{uri.SocketPath}' is longer than the 107 bytes a unix socket may have.", e);
        }
    }
}
