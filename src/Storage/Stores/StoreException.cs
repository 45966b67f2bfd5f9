// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>A store failed; trying again is sensible only when <see cref="IsTransient"/>.</summary>
public class StoreException(string message, bool isTransient, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>The same call may succeed later; a layer decides by this alone.</summary>
    public bool IsTransient { get; } = isTransient;

    /// <summary>What the user may do or set, where that is known.</summary>
    public string? Hint { get; init; }
}

/// <summary>No object has this key.</summary>
public sealed class ObjectMissingException(string key, string store)
    : StoreException($"Object '{key}' does not exist in '{store}'.", isTransient: false)
{
    public string Key { get; } = key;
}

/// <summary>The store has no room left; nothing was created. Deleting makes room.</summary>
public sealed class StoreFullException(string message, Exception? inner = null) : StoreException(message, isTransient: false, inner);

/// <summary>The store can't hold a repository: use another one.</summary>
public sealed class StoreUnsuitableException(string message, Exception? inner = null) : StoreException(message, isTransient: false, inner);
