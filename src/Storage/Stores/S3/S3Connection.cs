// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Amazon.Runtime;
using Amazon.S3;

namespace Tidemark.Storage;

/// <summary>
/// The SDK's client for one bucket, set up as every server understands it: whole signed bodies, no checksum trailers, no retries of its
/// own (<see cref="RetryPolicy"/> decides), our own connections. Owns both.
/// </summary>
internal sealed class S3Connection : IDisposable
{
    private const int Connections = 64;
    private static readonly TimeSpan ConnectTime = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ConnectionLife = TimeSpan.FromMinutes(5); // then the address is looked up again
    private readonly HttpClient _http;

    /// <exception cref="StoreException">The file of trusted certificates can't be used.</exception>
    public S3Connection(S3Options options)
    {
        var handler = new SocketsHttpHandler
        {
            MaxConnectionsPerServer = Connections,
            ConnectTimeout = ConnectTime,
            PooledConnectionLifetime = ConnectionLife,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
        };
        if (options.CaBundle is { } file)
            handler.SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = Trust(file) };
        _http = new HttpClient(new SentOnce(handler)) { Timeout = Timeout.InfiniteTimeSpan };
        var config = new AmazonS3Config
        {
            AuthenticationRegion = options.Region,
            ForcePathStyle = options.PathStyle,
            RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
            MaxErrorRetry = 0,
            ThrottleRetries = false,
            HttpClientFactory = new Factory(_http),
            UseHttp = options.Endpoint?.StartsWith("http://", StringComparison.Ordinal) == true,
        };
        if (options.Endpoint is { } endpoint)
            config.ServiceURL = endpoint;
        else
            config.RegionEndpoint = Amazon.RegionEndpoint.GetBySystemName(options.Region);
        Client = options.Keys is { } keys
            ? new AmazonS3Client(new BasicAWSCredentials(keys.AccessKey, keys.SecretKey), config)
            : new AmazonS3Client(config);
    }

    public AmazonS3Client Client { get; }

    public void Dispose()
    {
        Client.Dispose();
        _http.Dispose();
    }

    private static X509ChainPolicy Trust(string file)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        try
        {
            policy.CustomTrustStore.ImportFromPemFile(file);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new StoreException($"The certificates in '{file}' can't be used: {failure.Message}", isTransient: false, failure)
            {
                Hint = "AWS_CA_BUNDLE names a file of certificates in PEM form",
            };
        }

        return policy.CustomTrustStore.Count > 0
            ? policy
            : throw new StoreException($"File '{file}' holds no certificate in PEM form.", isTransient: false)
            {
                Hint = "AWS_CA_BUNDLE names a file of certificates in PEM form",
            };
    }

    private sealed class Factory(HttpClient http) : HttpClientFactory
    {
        public override HttpClient CreateHttpClient(IClientConfig clientConfig) => http;

        public override bool UseSDKHttpClientCaching(IClientConfig clientConfig) => false;

        public override bool DisposeHttpClientsAfterUse(IClientConfig clientConfig) => false;
    }
}
