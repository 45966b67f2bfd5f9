// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Key domains (docs/format.md section 4): tenants of one repository whose chunks have nothing in common.</summary>
public static class KeyDomain
{
    /// <summary>Whether a name is one of a domain; the empty one has none.</summary>
    public static bool IsValid(string name) => MachineId.IsValid(name);

    /// <summary>A domain in words.</summary>
    public static string Describe(string domain) => domain.Length == 0 ? "no key domain" : $"key domain '{domain}'";

    /// <summary>The names that are registered; the empty domain always exists.</summary>
    internal static async Task<IReadOnlyList<string>> ListAsync(IObjectStore store, CancellationToken cancellationToken)
    {
        var domains = new List<string>();
        await foreach (var info in store.ListAsync(ObjectNames.Features, cancellationToken))
        {
            if (ObjectNames.ParseDomain(info.Key) is { } domain)
                domains.Add(domain);
        }

        return domains;
    }

    /// <summary>Registers a domain before anything is written in it; needs no key.</summary>
    /// <exception cref="StoreException">The store failed, or does not let this host.</exception>
    internal static async Task RegisterAsync(IObjectStore store, string domain, CancellationToken cancellationToken)
    {
        var key = ObjectNames.Domain(domain);
        if (await store.HeadAsync(key, cancellationToken) is null)
            await store.PutIfAbsentAsync(key, ReadOnlyMemory<byte>.Empty, cancellationToken);
    }
}
