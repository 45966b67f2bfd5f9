// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Demo;

/// <summary>Something is not as it must be. The message is for the person who watches.</summary>
internal sealed class OffException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Fails unless a condition holds.</summary>
    public static void Unless(bool holds, string message)
    {
        if (!holds)
            throw new OffException(message);
    }
}
