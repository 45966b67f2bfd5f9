// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Where a bucket is and how it is spoken to. Credentials come from the SDK's usual chain unless given here.</summary>
public sealed record S3Options
{
    private const string Scheme = "s3://";

    public required string Bucket { get; init; }

    /// <summary>What every key begins with, without "/" at its ends; empty for none.</summary>
    public string Prefix { get; init; } = "";

    /// <summary>The server, such as "http://127.0.0.1:7480"; null for AWS itself.</summary>
    public string? Endpoint { get; init; }

    public string Region { get; init; } = "us-east-1";

    /// <summary>The bucket in the path, not in the host's name; most servers that are not AWS need it.</summary>
    public bool PathStyle { get; init; }

    /// <summary>A file of certificates (PEM) that are trusted in the place of the system's; null for those.</summary>
    public string? CaBundle { get; init; }

    /// <summary>Access key and secret, in the place of what the environment and profile say.</summary>
    public (string AccessKey, string SecretKey)? Keys { get; init; }

    /// <summary>How the requests inside a listing are tried again; by default they are not.</summary>
    public RetryPolicy? Retry { get; init; }

    /// <summary>Paces bodies in both directions; null for as fast as it goes.</summary>
    public RateLimit? Limit { get; init; }

    /// <summary>The server has no atomic create, and this host alone writes: see docs/format.md section 10a.</summary>
    public bool SingleWriter { get; init; }

    /// <summary>Time without a byte in either direction after which a request counts as lost.</summary>
    public TimeSpan StallTime { get; init; } = TimeSpan.FromSeconds(60);

    public static bool IsUrl(string url) => url.StartsWith(Scheme, StringComparison.Ordinal);

    /// <summary>
    /// Reads "s3://BUCKET[/PREFIX]" and the environment: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION,
    /// AWS_CA_BUNDLE, and TIDEMARK_S3_STYLE ("path" or "host"); endpoint and region that are not there are the profile's.
    /// </summary>
    /// <param name="url">The repository.</param>
    /// <param name="environment">Looks a variable up.</param>
    /// <param name="profile">What the user's profile says.</param>
    /// <exception cref="FormatException">The URL or a variable is not of its form; the message says how.</exception>
    public static S3Options Parse(string url, Func<string, string?> environment, S3Profile profile)
    {
        var parts = url[Scheme.Length..].Split('/', 2);
        var prefix = parts.Length > 1 ? parts[1].Trim('/') : "";
        if (parts[0].Length is < 3 or > 63 || !parts[0].All(letter => char.IsAsciiLetterLower(letter) || char.IsAsciiDigit(letter)
            || letter is '.' or '-'))
            throw new FormatException($"Repository '{url}' names no bucket: 3 to 63 of a-z, 0-9, '.' and '-' after 's3://'.");
        if (prefix.Length > 0 && !ObjectKey.IsValid(prefix))
        {
            throw new FormatException(
                $"Repository '{url}' has a prefix with other letters than A-Z, a-z, 0-9, '.', '_', '%', '-' and '/'.");
        }

        var said = First(environment, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL");
        var endpoint = (said ?? profile.Endpoint)?.TrimEnd('/');
        if (endpoint is not null && !(Uri.TryCreate(endpoint, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"))
        {
            var source = said is null ? $"endpoint_url of AWS profile '{profile.Name}'" : "AWS_ENDPOINT_URL";
            throw new FormatException($"{source} is '{endpoint}'; it must begin with http:// or https://.");
        }

        return new S3Options
        {
            Bucket = parts[0],
            Prefix = prefix,
            Endpoint = endpoint,
            Region = First(environment, "AWS_REGION", "AWS_DEFAULT_REGION") ?? profile.Region ?? "us-east-1",
            CaBundle = First(environment, "AWS_CA_BUNDLE"),
            PathStyle = First(environment, "TIDEMARK_S3_STYLE") switch
            {
                "path" => true,
                "host" => false,
                null => endpoint is not null,
                var other => throw new FormatException($"TIDEMARK_S3_STYLE is '{other}'; it must be 'path' or 'host'."),
            },
        };
    }

    private static string? First(Func<string, string?> environment, params string[] names) =>
        names.Select(environment).FirstOrDefault(value => !string.IsNullOrEmpty(value));
}
