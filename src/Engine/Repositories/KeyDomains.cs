// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Backup;
using Tidemark.Storage;

namespace Tidemark.Engine.Repositories;

/// <summary>The names of key domains as users give them.</summary>
internal static class KeyDomains
{
    /// <exception cref="EngineException">It is no name.</exception>
    public static void Check(string domain)
    {
        if (!KeyDomain.IsValid(domain))
        {
            throw EngineException.Usage(
                $"'{domain}' is no name of a key domain; 1 to 64 of a-z, 0-9 and '-', not starting with '-', are.");
        }
    }

    /// <summary>Options that say which domain: the one given, or that of the key.</summary>
    /// <exception cref="EngineException">It is no name.</exception>
    public static BackupOptions Resolve(BackupOptions options, RepositorySession repository)
    {
        if (options.Domain is { Length: > 0 } domain)
            Check(domain);
        return options with { Domain = options.Domain ?? repository.Repository.Domain };
    }
}
