// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Tidemark.Nbd.Tests;

/// <summary>TLS with X.509 against qemu-nbd and nbdkit, with certificates made here.</summary>
public sealed class TlsTests : IDisposable
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private static readonly NbdClientOptions _options = NbdClientOptions.Default;
    private readonly TempFolder _folder = new();
    private readonly byte[] _content = new byte[(5 << 20) + 512];

    public TlsTests()
    {
        new Random(47).NextBytes(_content);
        File.WriteAllBytes(_folder["d"], _content);
        Issue("good", "own");
        Issue("foreign", "foreign");
        Directory.CreateDirectory(_folder["anonymous"]);
        File.Copy(Path.Combine(_folder["good"], "ca-cert.pem"), Path.Combine(_folder["anonymous"], "ca-cert.pem"));
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("qemu-nbd")]
    [InlineData("nbdkit")]
    public async Task CertificatesOfOneAuthority_ReadExactly(string tool)
    {
        await using var server = await ServeAsync(tool);
        await using var source = await NbdBlockSource.OpenAsync(Uri("good"), _options, Token);
        Assert.Equal(4, source.ConnectionCount);
        var all = new byte[_content.Length];
        await source.ReadAsync(0, all, Token);
        Assert.Equal(_content, all);
        await source.ReadAsync(12345, all.AsMemory(0, 100_000), Token);
        Assert.True(_content.AsSpan(12345, 100_000).SequenceEqual(all.AsSpan(0, 100_000)));
        Assert.NotEmpty(await NbdClient.ListAsync(Uri("good"), _options, Token));
    }

    [Fact]
    public async Task ReadsCancelledUnderTls_LeaveTheConnectionUsable()
    {
        await using var server = await ServeAsync("qemu-nbd");
        await using var connection = await NbdClient.ConnectAsync(Uri("good"), _options, Token);
        for (var round = 0; round < 30; round++)
        {
            using var cancel = new CancellationTokenSource();
            var read = connection.ReadAsync(0, new byte[5 << 20], cancel.Token).AsTask();
            await Task.Delay(round % 5, Token);
            await cancel.CancelAsync();
            await Record.ExceptionAsync(() => read);
        }

        var all = new byte[1 << 20];
        await connection.ReadAsync(512, all, Token);
        Assert.True(_content.AsSpan(512, 1 << 20).SequenceEqual(all));
    }

    [Fact]
    public async Task TcpWithTheAddressInTheCertificate_IsTrusted()
    {
        var port = Tool.FreePort();
        await using var server = await Tool.ServeAsync(
            $"{port}", "nbdkit", "-f", "-r", "-i", "127.0.0.1", "-p", $"{port}",
            "--tls=require", $"--tls-certificates={_folder["good"]}", "file", _folder["d"]);
        await using var connection = await NbdClient.ConnectAsync(
            NbdUri.Parse($"nbds://127.0.0.1:{port}/?tls-certificates={_folder["good"]}"), _options, Token);
        await connection.ReadAsync(0, new byte[512], Token);
        Assert.Equal(_content.Length, connection.Export.Size);
    }

    [Fact]
    public async Task ServerOfAnotherAuthority_IsNotTrusted()
    {
        await using var server = await ServeAsync("qemu-nbd");
        var failure = await Assert.ThrowsAsync<NbdConnectionClosedException>(() => NbdClient.ConnectAsync(Uri("foreign"), _options, Token));
        Assert.StartsWith("TLS with ", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ServerOfAnotherName_IsNotTrusted()
    {
        await using var server = await ServeAsync("qemu-nbd");
        var uri = Uri("good").WithTls(_folder["good"], "elsewhere.example");
        await Assert.ThrowsAsync<NbdConnectionClosedException>(() => NbdClient.ConnectAsync(uri, _options, Token));
        await using var named = await NbdClient.ConnectAsync(uri.WithTls(_folder["good"], "backup.example"), _options, Token);
    }

    [Fact]
    public async Task ClientWithoutCertificate_IsTurnedAway()
    {
        await using var server = await ServeAsync("qemu-nbd");
        await Assert.ThrowsAsync<NbdConnectionClosedException>(() => NbdClient.ConnectAsync(Uri("anonymous"), _options, Token));
    }

    [Fact]
    public async Task PlainClient_IsToldThatTlsIsRequired()
    {
        await using var server = await ServeAsync("qemu-nbd");
        var failure = await Assert.ThrowsAsync<NbdNegotiationException>(
            () => NbdClient.ConnectAsync(NbdUri.ForUnixSocket(_folder["s"], ""), _options, Token));
        Assert.Equal(NbdOptionReply.ErrorTlsRequired, failure.Reply);
    }

    [Fact]
    public async Task ServerWithoutTls_IsNotTalkedToInPlainText()
    {
        await using var server = await Tool.ServeAsync(_folder["s"], "qemu-nbd", "-t", "-r", "-f", "raw", "-k", _folder["s"], _folder["d"]);
        var failure = await Assert.ThrowsAsync<NbdNegotiationException>(() => NbdClient.ConnectAsync(Uri("good"), _options, Token));
        Assert.Equal(NbdOption.StartTls, failure.Option);
    }

    [Fact]
    public async Task MissingCertificates_AreNamed()
    {
        await using var server = await ServeAsync("qemu-nbd");
        var failure = await Assert.ThrowsAsync<NbdConnectionClosedException>(() => NbdClient.ConnectAsync(Uri("nowhere"), _options, Token));
        Assert.Contains("ca-cert.pem", failure.Message, StringComparison.Ordinal);
    }

    private NbdUri Uri(string certificates) => NbdUri.ForUnixSocket(_folder["s"], "").WithTls(_folder[certificates]);

    private Task<Tool> ServeAsync(string tool) => tool == "nbdkit"
        ? Tool.ServeAsync(
            _folder["s"], tool, "-f", "-r", "-U", _folder["s"], "--tls=require", $"--tls-certificates={_folder["good"]}",
            "--tls-verify-peer",
            "file", _folder["d"])
        : Tool.ServeAsync(
            _folder["s"], tool, "-t", "-r", "-e", "8", "-f", "raw", "-k", _folder["s"],
            "--object", $"tls-creds-x509,id=tls,endpoint=server,dir={_folder["good"]},verify-peer=on", "--tls-creds", "tls", _folder["d"]);

    /// <summary>A folder with an authority of its own and a server's and a client's certificate.</summary>
    private void Issue(string folder, string name)
    {
        Directory.CreateDirectory(_folder[folder]);
        var now = DateTimeOffset.UtcNow;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN=authority {name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        using var authority = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(2));
        File.WriteAllText(Path.Combine(_folder[folder], "ca-cert.pem"), authority.ExportCertificatePem());
        foreach (var (role, usage) in new[] { ("server", ServerAuthentication), ("client", ClientAuthentication) })
        {
            using var ownKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var own = new CertificateRequest($"CN={role}", ownKey, HashAlgorithmName.SHA256);
            own.CertificateExtensions.Add(
                new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyEncipherment, true));
            own.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName("localhost");
            names.AddDnsName("backup.example");
            names.AddIpAddress(IPAddress.Loopback);
            own.CertificateExtensions.Add(names.Build());
            using var certificate = own.Create(authority, now.AddDays(-1), now.AddDays(1), RandomNumberGenerator.GetBytes(8));
            File.WriteAllText(Path.Combine(_folder[folder], $"{role}-cert.pem"), certificate.ExportCertificatePem());
            File.WriteAllText(Path.Combine(_folder[folder], $"{role}-key.pem"), ownKey.ExportPkcs8PrivateKeyPem());
        }
    }
}
