// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>
/// The ways into an NBD server. Each call is one connection with one time limit,
/// <see cref="NbdClientOptions.HandshakeTimeout"/>, and leaves nothing open when it fails.
/// </summary>
/// <remarks>
/// All calls throw <see cref="NbdConnectionClosedException"/> (unreachable, too slow, TLS failed),
/// <see cref="NbdNegotiationException"/> (refused) or <see cref="NbdProtocolException"/> (no sound NBD server).
/// </remarks>
public static class NbdClient
{
    /// <summary>Opens the URI's export. The caller disposes the connection.</summary>
    public static async Task<NbdConnection> ConnectAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        return new NbdConnection(uri, await NbdHandshake.GoAsync(uri, options, cancellationToken), options);
    }

    /// <summary>The exports the server lists; the URI's export name plays no part.</summary>
    public static Task<IReadOnlyList<NbdListEntry>> ListAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        return NbdHandshake.ListAsync(uri, options, cancellationToken);
    }

    /// <summary>What the server says of the URI's export, without opening it; its contexts are all it has.</summary>
    public static Task<NbdExport> InfoAsync(NbdUri uri, NbdClientOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        return NbdHandshake.InfoAsync(uri, options, cancellationToken);
    }
}
