// SPDX-License-Identifier: Apache-2.0
using System.Runtime.ExceptionServices;

namespace Tidemark.Storage;

/// <summary>
/// Lets a create go out once. Told not to retry, the SDK still sends a request again by itself when its connection breaks; the second
/// one of a create then finds what the first one made, and its caller would believe that somebody else was first.
/// </summary>
internal sealed class SentOnce(HttpMessageHandler inner) : DelegatingHandler(inner)
{
    private static readonly AsyncLocal<Sending?> _current = new();

    /// <summary>Every request of the caller's flow from here on is the same create.</summary>
    public static void Begin() => _current.Value = new Sending();

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (request.Method != HttpMethod.Put || _current.Value is not { } sending)
            return await base.SendAsync(request, cancellationToken);
        if (sending.Failure is { } first)
            ExceptionDispatchInfo.Throw(first);
        try
        {
            return await base.SendAsync(request, cancellationToken);
        }
        catch (Exception failure)
        {
            sending.Failure = failure;
            throw;
        }
    }

    private sealed class Sending
    {
        public Exception? Failure { get; set; }
    }
}
