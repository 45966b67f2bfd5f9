// SPDX-License-Identifier: Apache-2.0
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Tidemark.Nbd;

/// <summary>NBD_OPT_STARTTLS: everything after it is encrypted; there is no way back to plain text.</summary>
internal static class StartTls
{
    public static async ValueTask UpgradeAsync(OptionChannel channel, NbdUri uri, CancellationToken cancellationToken)
    {
        await channel.SendAsync(NbdOption.StartTls, ReadOnlyMemory<byte>.Empty, cancellationToken);
        var reply = await channel.ReceiveAsync(NbdOption.StartTls, cancellationToken);
        if (reply.Header.IsError)
            throw reply.ToRefusal("TLS");
        reply.Expect(NbdOptionReply.Ack);

        var socket = ((SocketTransport)channel.Transport).Socket;
        var stream = new SslStream(new NetworkStream(socket, ownsSocket: false));
        using var credentials = TlsCredentials.Load(uri.TlsCertificates);
        try
        {
            await stream.AuthenticateAsClientAsync(OptionsFor(uri, credentials), cancellationToken);
        }
        catch (Exception e) when (e is AuthenticationException or IOException)
        {
            socket.Dispose();
            await stream.DisposeAsync();
            var inner = e.InnerException is { } cause ? $" ({cause.Message.TrimEnd('.')})" : "";
            throw new NbdConnectionClosedException($"TLS with '{uri}' failed: {e.Message.TrimEnd('.')}{inner}.", e);
        }

        channel.Transport = new TlsTransport(socket, stream);
    }

    private static SslClientAuthenticationOptions OptionsFor(NbdUri uri, TlsCredentials credentials)
    {
        var options = new SslClientAuthenticationOptions
        {
            // A unix socket has no host: its certificate is for 'localhost' unless tls-hostname says otherwise.
            TargetHost = uri.TlsHostName ?? uri.Host ?? "localhost",
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (credentials.Client is not null)
            options.ClientCertificateContext = SslStreamCertificateContext.Create(
                credentials.Client, credentials.Authorities, offline: true);
        if (credentials.Authorities is { } authorities)
        {
            options.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                DisableCertificateDownloads = true,
            };
            options.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
            options.CertificateChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.1")); // serverAuth
        }

        return options;
    }
}

/// <summary>The X.509 files of a folder, named as every NBD tool names them.</summary>
internal sealed class TlsCredentials : IDisposable
{
    private const string AuthorityFile = "ca-cert.pem";
    private const string ClientFile = "client-cert.pem";
    private const string ClientKeyFile = "client-key.pem";

    /// <summary>Null: the authorities the system trusts.</summary>
    public X509Certificate2Collection? Authorities { get; private init; }

    /// <summary>Null: none to show.</summary>
    public X509Certificate2? Client { get; private init; }

    /// <exception cref="NbdConnectionClosedException">A file is missing or unreadable.</exception>
    public static TlsCredentials Load(string? folder)
    {
        if (folder is null)
            return new TlsCredentials();
        try
        {
            var authorities = new X509Certificate2Collection();
            authorities.ImportFromPemFile(Path.Combine(folder, AuthorityFile));
            var certificate = Path.Combine(folder, ClientFile);
            return new TlsCredentials
            {
                Authorities = authorities,
                Client = File.Exists(certificate)
                    ? X509Certificate2.CreateFromPemFile(certificate, Path.Combine(folder, ClientKeyFile))
                    : null,
            };
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new NbdConnectionClosedException($"TLS certificates in '{folder}' cannot be used: {e.Message.TrimEnd('.')}.", e);
        }
    }

    public void Dispose()
    {
        Client?.Dispose();
        foreach (var authority in Authorities ?? [])
            authority.Dispose();
    }
}
